"""BatchNorm or a bias, ReLU, dropout and 2x2 maximum in one, for CUDA devices with Triton.

Of a map that is pooled at once, only the pooled quarter is ever written. The backward pass finds
again in the norm's input which pixel of a window was the largest. With torch's operations pooling
takes more time than the convolutions of a small network, and adding a convolution's bias to the
whole map as much as the convolution. `formulas` holds the same in torch's operations. CPUs run
those, and a test on a GPU compares both, gradients too. Sums are made as in `norm_relu`, with its
moments.

A pooled map [N, C, H / 2, W / 2] in channels_last is a matrix of R = N H W / 4 rows and C
columns. Each row belongs to a window of four pixels, numbered 0 to 3 in reading order. Among
equals the first is the largest, as in torch.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fer_tune.kernels.norm_relu import BLOCK_COLUMNS, at_least_0, division, exceeds, moments, summed

BLOCK_ROWS = 32
"""Half of the rows of `norm_relu`, because a row has four pixels here."""


@triton.jit
def _corner(r, high, wide):
    """Returns the row, in the unpooled matrix, of the first pixel of each window."""
    image, i, j = r // (high * wide), r // wide % high, r % wide
    return image * (4 * high * wide) + 4 * i * wide + 2 * j


@triton.jit  # type: ignore[untyped-decorator]
def affine(mean_at, scale_at, weight, bias, c, columns, eps, NORM: tl.constexpr, RUNNING: tl.constexpr):
    """Returns the norm, or the bias alone, as factor and offset of x."""
    factor = tl.where(c < columns, 1.0, 0.0)
    offset = tl.load(bias + c, mask=c < columns, other=0.0).to(tl.float32)
    if NORM:
        scale = tl.load(scale_at + c, mask=c < columns, other=1.0)
        if RUNNING:
            scale = 1 / tl.sqrt(scale + eps)
        factor = scale * tl.load(weight + c, mask=c < columns, other=0.0)
        mean = tl.load(mean_at + c, mask=c < columns, other=0.0)
        offset -= mean * factor
    return factor, offset


@triton.jit  # type: ignore[untyped-decorator]
def _pixel(x, corner, k: tl.constexpr, wide, c, columns, inside):
    """Returns x at pixel k of each window, float32 [BR, BC]."""
    row = corner + (k // 2) * 2 * wide + k % 2
    return tl.load(x + row[:, None] * columns + c[None, :], mask=inside, other=0.0).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _larger(most, at, which, x, k: tl.constexpr, factor, offset):
    """Returns the largest pixel until k, given that until k - 1 and x at pixel k."""
    value = x * factor[None, :] + offset[None, :]
    larger = exceeds(value, most)
    return tl.where(larger, value, most), tl.where(larger, x, at), tl.where(larger, k, which)


@triton.jit
def largest(x0, x1, x2, x3, factor, offset):
    """Returns the largest normalised pixel of each window, x there, and its number."""
    most = x0 * factor[None, :] + offset[None, :]
    most, at, which = _larger(most, x0, tl.zeros_like(most), x1, 1, factor, offset)
    most, at, which = _larger(most, at, which, x2, 2, factor, offset)
    return _larger(most, at, which, x3, 3, factor, offset)


@triton.jit
def _pixels(x, corner, wide, c, columns, inside):
    """Returns x at the four pixels of each window."""
    return (
        _pixel(x, corner, 0, wide, c, columns, inside),
        _pixel(x, corner, 1, wide, c, columns, inside),
        _pixel(x, corner, 2, wide, c, columns, inside),
        _pixel(x, corner, 3, wide, c, columns, inside),
    )


@triton.jit
def kept(value, keep, r, c, columns, area, inside):
    """Returns value times keep. An image has `area` rows."""
    return value * tl.load(keep + (r // area)[:, None] * columns + c[None, :], mask=inside, other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def _forward(
    x, keep, y, mean_at, scale_at, weight, bias, rows, columns, high, wide, eps,
    NORM: tl.constexpr, KEEP: tl.constexpr, RUNNING: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Writes y, the maxima of relu(norm(x)), times keep.

    With RUNNING `scale_at` holds variances.
    """
    r = tl.program_id(0) * BR + tl.arange(0, BR)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    inside = (r < rows)[:, None] & (c < columns)[None, :]
    factor, offset = affine(mean_at, scale_at, weight, bias, c, columns, eps, NORM, RUNNING)
    x0, x1, x2, x3 = _pixels(x, _corner(r, high, wide), wide, c, columns, inside)
    most, _, _ = largest(x0, x1, x2, x3, factor, offset)
    most = at_least_0(most)
    if KEEP:
        most = kept(most, keep, r, c, columns, high * wide, inside)
    tl.store(y + r[:, None] * columns + c[None, :], most.to(y.dtype.element_ty), mask=inside)


@triton.jit
def upstream(gradient, most, r, c, columns, inside):
    """Returns the gradient of the largest pixel, before ReLU."""
    value = tl.load(gradient + r[:, None] * columns + c[None, :], mask=inside, other=0.0).to(tl.float32)
    return tl.where(most > 0, value, 0.0)


@triton.jit  # type: ignore[untyped-decorator]
def _backward_sums(
    gradient, keep, x, mean_at, scale_at, weight, bias, parts, rows, columns, high, wide, chunk, eps,
    NORM: tl.constexpr, KEEP: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Writes partial sums of the gradients of bias and weight. Only the largest pixels have any."""
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    first = tl.program_id(1) * chunk
    last = tl.minimum(first + chunk, rows)
    if NORM:
        mean = tl.load(mean_at + c, mask=c < columns, other=0.0)
        scale = tl.load(scale_at + c, mask=c < columns, other=0.0)
    factor, offset = affine(mean_at, scale_at, weight, bias, c, columns, eps, NORM, False)
    dbias = tl.zeros((BR, BC), tl.float32)
    dweight = tl.zeros((BR, BC), tl.float32)
    for start in range(first, last, BR):
        r = start + tl.arange(0, BR)
        inside = (r < last)[:, None] & (c < columns)[None, :]
        x0, x1, x2, x3 = _pixels(x, _corner(r, high, wide), wide, c, columns, inside)
        most, at, _ = largest(x0, x1, x2, x3, factor, offset)
        value = upstream(gradient, most, r, c, columns, inside)
        if KEEP:
            value = kept(value, keep, r, c, columns, high * wide, inside)
        dbias += value
        if NORM:
            dweight += value * (at - mean[None, :]) * scale[None, :]
    out = parts + tl.program_id(1) * 2 * columns + c
    tl.store(out, tl.sum(dbias, 0), mask=c < columns)
    tl.store(out + columns, tl.sum(dweight, 0), mask=c < columns)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(
    gradient, keep, x, mean_at, scale_at, weight, bias, sums, dx, rows, columns, high, wide, eps,
    NORM: tl.constexpr, KEEP: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Writes the gradient of x (Ioffe & Szegedy 2015, section 3), all pixels of each window."""
    r = tl.program_id(0) * BR + tl.arange(0, BR)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    inside = (r < rows)[:, None] & (c < columns)[None, :]
    factor, offset = affine(mean_at, scale_at, weight, bias, c, columns, eps, NORM, False)
    corner = _corner(r, high, wide)
    x0, x1, x2, x3 = _pixels(x, corner, wide, c, columns, inside)
    most, _, which = largest(x0, x1, x2, x3, factor, offset)
    value = upstream(gradient, most, r, c, columns, inside)
    if KEEP:
        value = kept(value, keep, r, c, columns, high * wide, inside)
    for k in tl.static_range(4):
        out = tl.where(which == k, value, 0.0)
        if NORM:
            mean = tl.load(mean_at + c, mask=c < columns, other=0.0)
            scale = tl.load(scale_at + c, mask=c < columns, other=0.0)
            dbias = tl.load(sums + c, mask=c < columns, other=0.0) / (4 * rows)
            dweight = tl.load(sums + columns + c, mask=c < columns, other=0.0) / (4 * rows)
            whitened = (_pixel(x, corner, k, wide, c, columns, inside) - mean[None, :]) * scale[None, :]
            out = factor[None, :] * (out - dbias[None, :] - whitened * dweight[None, :])
        row = corner + (k // 2) * 2 * wide + k % 2
        tl.store(dx + row[:, None] * columns + c[None, :], out.to(dx.dtype.element_ty), mask=inside)


class _NormReLUPoolFunction(torch.autograd.Function):
    """The training pass. `keep` is float32 [N, C] or None."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, keep: Tensor | None, weight: Tensor, bias: Tensor, running_mean: Tensor,
        running_var: Tensor, momentum: float, eps: float,
    ) -> Tensor:  # fmt: skip
        mean, scale = moments(x, running_mean, running_var, momentum, eps)
        y = _output(x, keep, (mean, scale, weight, bias), eps, running=False)
        ctx.save_for_backward(x, keep, mean, scale, weight, bias)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, keep, *norm = ctx.saved_tensors
        dx, dweight, dbias = _gradients(gradient, x, keep, tuple(norm), ctx.eps)
        return dx, None, dweight, dbias, None, None, None, None


class _ReLUPool(torch.autograd.Function):
    """The pass with a bias instead of a norm. `keep` is float32 [N, C] or None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Tensor | None, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, keep, bias)
        return _output(x, keep, (bias,), 0.0, running=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, keep, bias = ctx.saved_tensors
        dx, _, dbias = _gradients(gradient, x, keep, (bias,), 0.0)
        return dx, None, dbias.to(bias.dtype)


def _gradients(
    gradient: Tensor, x: Tensor, keep: Tensor | None, norm: tuple[Tensor, ...], eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of x, weight (of a norm) and bias. `norm` is as for `_output`."""
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    rows, columns = gradient.numel() // gradient.shape[1], gradient.shape[1]
    across, count, chunk = division(rows, columns)
    parts = torch.empty(count, 2, columns, device=x.device)
    dx = torch.empty_like(x)
    inputs = (x if keep is None else keep, x, *four(norm))
    edges = rows, columns, *gradient.shape[2:]
    blocks = {"NORM": len(norm) > 1, "KEEP": keep is not None, "BR": BLOCK_ROWS, "BC": BLOCK_COLUMNS}
    _backward_sums[(across, count)](gradient, *inputs, parts, *edges, chunk, eps, **blocks)
    sums = summed(parts)
    _backward[_grid(gradient)](gradient, *inputs, sums, dx, *edges, eps, **blocks)
    return dx, sums[1], sums[0]


def four(norm: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Returns the four that kernels take. With a bias alone they read no other of them."""
    return norm if len(norm) > 1 else norm * 4


def _grid(pooled: Tensor) -> tuple[int, int]:
    """Returns the numbers of programs over a pooled map's pixels and channels."""
    columns = pooled.shape[1]
    return triton.cdiv(pooled.numel() // columns, BLOCK_ROWS), triton.cdiv(columns, BLOCK_COLUMNS)


def _output(x: Tensor, keep: Tensor | None, norm: tuple[Tensor, ...], eps: float, running: bool) -> Tensor:
    """Returns the pooled map.

    Args:
        norm: mean, 1/deviation (a variance if `running`), weight and bias; or a bias alone.
    """
    count, columns, height, width = x.shape
    y = torch.empty(
        (count, columns, height // 2, width // 2), device=x.device, dtype=x.dtype, memory_format=torch.channels_last
    )
    _forward[_grid(y)](
        x, x if keep is None else keep, y, *four(norm), y.numel() // columns, columns, *y.shape[2:], eps,
        NORM=len(norm) > 1, KEEP=keep is not None, RUNNING=running, BR=BLOCK_ROWS, BC=BLOCK_COLUMNS,
    )  # fmt: skip
    return y


def norm_relu_pool(norm: Any, x: Tensor, keep: Tensor | None) -> Tensor:
    """Returns the maxima of 2x2 pixels of relu(norm(x)), times keep, with gradients in training.

    Args:
        norm: a `torch.nn.BatchNorm2d` with running statistics.
        x: [N, C, H, W], channels_last, bfloat16 or float32. H and W are even.
        keep: float32 [N, C], factors of a dropout, or None.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    statistics = norm.running_mean, norm.running_var
    if norm.training:
        y: Tensor = _NormReLUPoolFunction.apply(x, keep, norm.weight, norm.bias, *statistics, norm.momentum, norm.eps)
        return y
    return _output(x, keep, (*statistics, norm.weight, norm.bias), norm.eps, running=True)


def bias_relu_pool(x: Tensor, keep: Tensor | None, bias: Tensor) -> Tensor:
    """Returns the maxima of 2x2 pixels of relu(x + bias), times keep. `bias` is [C]."""
    y: Tensor = _ReLUPool.apply(x.contiguous(memory_format=torch.channels_last), keep, bias)
    return y
