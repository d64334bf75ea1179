"""Triton kernels, each beside its formula in torch."""
