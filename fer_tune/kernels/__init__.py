"""Triton kernels and, in `formulas` and `image_changes`, what they compute in torch's operations."""
