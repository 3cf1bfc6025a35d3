"""Shared by all tests: the root is importable, so that strategies are."""
