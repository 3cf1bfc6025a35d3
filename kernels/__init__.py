"""Triton kernels whose requests to memory are compared with the simulator's, byte for byte."""
