"""What is shipped, for tests that run all of it on the models of FuseMax."""

from accelsim import spec

MAPPINGS = [
    name for name in spec.names("mapping") if spec.load(name, "mapping").spec.cascade != "gemm"
]
"""A plain matrix product has a workload of its own."""
