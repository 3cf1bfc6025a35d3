"""Rank shapes: models, sequence lengths."""

from accelsim.workload.workload import shapes

__all__ = ["shapes"]
