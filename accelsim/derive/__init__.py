"""Rewriting cascades by laws: fewer passes, each step proved and checked."""
