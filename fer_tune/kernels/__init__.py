"""Triton kernels and, in `formulas` and `image_changes`, the same in torch's operations."""
