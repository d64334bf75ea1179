"""What the kernels of layers compute, in torch's operations.

CPUs run these formulas, tests compare each kernel with its formula, and `benchmarks/kernels.py`
measures one against the other. A kernel has the name and the arguments of its formula.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def dropout_factors(drawn: Tensor, rate: Tensor) -> Tensor:
    """Returns 0 or 1 / (1 - rate) for each number drawn.

    Args:
        drawn: float32 [N, C], uniform in 0..1. The kernel writes its factors over these.
        rate: float32 scalar, below 1.
    """
    keep = 1 - rate
    return (drawn < keep) / keep


def batch_norm(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Returns norm(x). The arguments are those of `norm_relu`."""
    return nn.BatchNorm2d.forward(norm, x)


def norm_relu(norm: nn.BatchNorm2d, x: Tensor, residual: Tensor | None, keep: Tensor | None) -> Tensor:
    """Returns relu(norm(x) + residual) * keep.

    Args:
        norm: BatchNorm with running statistics, which a training pass moves.
        x: [N, C, H, W].
        residual: like `x`, or None.
        keep: float32 [N, C], factors of a dropout, or None.
    """
    out = batch_norm(norm, x)
    out = functional.relu(out if residual is None else out + residual, inplace=True)
    return _dropped(out, keep)


def norm_relu_pool(norm: nn.BatchNorm2d, x: Tensor, keep: Tensor | None) -> Tensor:
    """Returns the maxima of 2x2 windows of relu(norm(x)), times keep: [N, C, H // 2, W // 2]."""
    return _dropped(functional.max_pool2d(norm_relu(norm, x, None, None), 2), keep)


def bias_relu_pool(x: Tensor, keep: Tensor | None, bias: Tensor) -> Tensor:
    """Returns the maxima of 2x2 windows of relu(x + bias), times keep: [N, C, H // 2, W // 2].

    The bias, [C], is added to the maxima. They are a quarter of the map, and the bias does not
    change their order.
    """
    pooled = functional.max_pool2d(x, 2) + bias[:, None, None]
    return _dropped(functional.relu(pooled, inplace=True), keep)


def antialiased_pool(x: Tensor) -> Tensor:
    """Returns the 2x2 means of the maxima of 2x2 windows everywhere: [N, C, H // 2, W // 2]."""
    return functional.avg_pool2d(functional.max_pool2d(x, 2, stride=1), 2, ceil_mode=True)


def grey_convolution(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Returns the convolution of grey images [N, 1, H, W] with [C, 1, K, K], padded by K // 2."""
    return functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2)


def grey_norm_relu_pool(norm: nn.BatchNorm2d, x: Tensor, weight: Tensor, keep: Tensor | None) -> Tensor:
    """Returns `norm_relu_pool` of `grey_convolution` with stride 1."""
    return norm_relu_pool(norm, grey_convolution(x, weight, 1), keep)


def grey_bias_relu_pool(x: Tensor, weight: Tensor, keep: Tensor | None, bias: Tensor) -> Tensor:
    """Returns `bias_relu_pool` of `grey_convolution` with stride 1."""
    return bias_relu_pool(grey_convolution(x, weight, 1), keep, bias)


def _dropped(x: Tensor, keep: Tensor | None) -> Tensor:
    return x if keep is None else x * keep[:, :, None, None].to(x.dtype)
