"""The first convolution, BatchNorm or a bias, ReLU, dropout and 2x2 maximum in one, with Triton.

A convolution of a grey image makes a map of many times the image's size, and hardly computes. So
each pass here computes the map again from the image, and nobody ever writes the map or its
gradient. What `grey_convolution` and `norm_relu_pool` do, one after the other, writes a map once,
reads it four times, and does both with its gradient. `formulas` holds the same in torch's
operations. CPUs run those, and a test on a GPU compares both, gradients too.

A pooled map [N, C, H / 2, W / 2] in channels_last is a matrix of R = N H W / 4 rows and C columns.
Each row belongs to four pixels of the map, numbered as in `norm_relu_pool`. `grey_map` computes
them.

The map is rounded to the dtype of the image, as if it had been written. All sums are made in two
steps, partial sums and then their total. A program sums a fixed set of rows, so sums do not depend
on the order of execution.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fer_tune.kernels import grey_convolution, norm_relu
from fer_tune.kernels.grey_map import map_pixels, moved, near_pixels, placed_weights
from fer_tune.kernels.norm_relu import at_least_0
from fer_tune.kernels.norm_relu_pool import affine, four, kept, largest, upstream

FORWARD = 32, 2, 1056
"""Rows of a block, warps of a program, and programs that run at once, each for many blocks.

With fewer rows for each warp, tensor cores compute some twice. float32 has half of the rows: it
needs registers, not tensor cores.
"""

BACKWARD = 32, 4, 528
"""The same for the gradient of the weights, which keeps more in registers."""

COLUMNS = 32
"""Columns of a block, or 16 where there are no more."""


@triton.jit  # type: ignore[untyped-decorator]
def _kept(value, keep, block, r, rows, c, columns, AREA: tl.constexpr, BR: tl.constexpr):
    """Returns value [BR, BC] times keep. An image has AREA rows."""
    if AREA % BR == 0:  # all rows of the block are of one image
        value *= tl.load(keep + block * BR // AREA * columns + c, mask=c < columns, other=0.0)[None, :]
    else:
        value = kept(value, keep, r, c, columns, AREA, (r < rows)[:, None] & (c < columns)[None, :])
    return value


@triton.jit
def _add(total, square, x, shift, inside):
    """Returns both sums with one pixel more for each row."""
    value = tl.where(inside, x - shift[None, :], 0.0)
    return total + value, square + value * value


@triton.jit  # type: ignore[untyped-decorator]
def _moments(
    x, weight, shift, parts, rows, columns, H: tl.constexpr, W: tl.constexpr, K: tl.constexpr,
    T: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Writes partial sums of the map less the shift, and of its square, as in `norm_relu`."""
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    w0, w1, w2, w3 = placed_weights(weight, c, columns, K, T)
    by = tl.load(shift + c, mask=c < columns, other=0.0)
    total = tl.zeros((BR, BC), tl.float32)
    square = tl.zeros((BR, BC), tl.float32)
    for block in range(tl.program_id(1), tl.cdiv(rows, BR), tl.num_programs(1)):
        r = block * BR + tl.arange(0, BR)
        x0, x1, x2, x3 = map_pixels(near_pixels(x, r, rows, H, W, K, T), w0, w1, w2, w3)
        inside = (r < rows)[:, None]
        total, square = _add(total, square, x0, by, inside)
        total, square = _add(total, square, x1, by, inside)
        total, square = _add(total, square, x2, by, inside)
        total, square = _add(total, square, x3, by, inside)
    out = parts + tl.program_id(1) * 2 * columns + c
    tl.store(out, tl.sum(total, 0), mask=c < columns)
    tl.store(out + columns, tl.sum(square, 0), mask=c < columns)


@triton.jit  # type: ignore[untyped-decorator]
def _forward(
    x, weight, keep, y, mean_at, scale_at, scales, bias, rows, columns, eps,
    NORM: tl.constexpr, KEEP: tl.constexpr, RUNNING: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    K: tl.constexpr, T: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Writes y, the maxima of relu(norm(map)), times keep.

    With RUNNING `scale_at` holds variances.
    """
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    w0, w1, w2, w3 = placed_weights(weight, c, columns, K, T)
    factor, offset = affine(mean_at, scale_at, scales, bias, c, columns, eps, NORM, RUNNING)
    for block in range(tl.program_id(1), tl.cdiv(rows, BR), tl.num_programs(1)):
        r = block * BR + tl.arange(0, BR)
        inside = (r < rows)[:, None] & (c < columns)[None, :]
        x0, x1, x2, x3 = map_pixels(near_pixels(x, r, rows, H, W, K, T), w0, w1, w2, w3)
        most, _, _ = largest(x0, x1, x2, x3, factor, offset)
        most = at_least_0(most)
        if KEEP:
            most = _kept(most, keep, block, r, rows, c, columns, H // 2 * (W // 2), BR)
        tl.store(y + r[:, None] * columns + c[None, :], most.to(y.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _backward_sums(
    gradient, x, weight, keep, mean_at, scale_at, scales, bias, parts, rows, columns, eps,
    KEEP: tl.constexpr, H: tl.constexpr, W: tl.constexpr, K: tl.constexpr, T: tl.constexpr,
    BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Writes partial sums of the gradients of the norm's bias and weight."""
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    w0, w1, w2, w3 = placed_weights(weight, c, columns, K, T)
    factor, offset = affine(mean_at, scale_at, scales, bias, c, columns, eps, True, False)
    mean = tl.load(mean_at + c, mask=c < columns, other=0.0)
    dbias = tl.zeros((BR, BC), tl.float32)
    dscales = tl.zeros((BR, BC), tl.float32)
    for block in range(tl.program_id(1), tl.cdiv(rows, BR), tl.num_programs(1)):
        r = block * BR + tl.arange(0, BR)
        inside = (r < rows)[:, None] & (c < columns)[None, :]
        x0, x1, x2, x3 = map_pixels(near_pixels(x, r, rows, H, W, K, T), w0, w1, w2, w3)
        most, at, _ = largest(x0, x1, x2, x3, factor, offset)
        value = upstream(gradient, most, r, c, columns, inside)
        if KEEP:
            value = _kept(value, keep, block, r, rows, c, columns, H // 2 * (W // 2), BR)
        dbias += value
        dscales += value * (at - mean[None, :])
    scale = tl.load(scale_at + c, mask=c < columns, other=0.0)
    out = parts + tl.program_id(1) * 2 * columns + c
    tl.store(out, tl.sum(dbias, 0), mask=c < columns)
    tl.store(out + columns, tl.sum(dscales, 0) * scale, mask=c < columns)


@triton.jit  # type: ignore[untyped-decorator]
def _product(total, across, x, which, k: tl.constexpr, value, factor, level, slope, NORM: tl.constexpr):
    """Returns total [T, BC] plus the product of images and the gradient of pixel k of the map."""
    out = tl.where(which == k, value, 0.0)
    if NORM:
        out = factor[None, :] * out - level[None, :] - slope[None, :] * x
    return tl.dot(across, out.to(across.dtype), total, input_precision="ieee")


@triton.jit  # type: ignore[untyped-decorator]
def _backward(
    gradient, x, weight, keep, mean_at, scale_at, scales, bias, sums, parts, bias_parts, rows, columns, eps,
    NORM: tl.constexpr, KEEP: tl.constexpr, H: tl.constexpr, W: tl.constexpr, K: tl.constexpr,
    T: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Writes partial sums [C, T] of the gradients of the weights, in K K columns.

    Without a norm also those of the bias, as `norm_relu.summed` reads them: a norm needs the totals
    `sums` before (Ioffe & Szegedy 2015, section 3).
    """
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    w0, w1, w2, w3 = placed_weights(weight, c, columns, K, T)
    factor, offset = affine(mean_at, scale_at, scales, bias, c, columns, eps, NORM, False)
    level, slope = offset, factor
    if NORM:  # factor * (value - dbias - (x - mean) * scale * dscales) is all that x needs
        mean = tl.load(mean_at + c, mask=c < columns, other=0.0)
        scale = tl.load(scale_at + c, mask=c < columns, other=0.0)
        slope = factor * scale * tl.load(sums + columns + c, mask=c < columns, other=0.0) / (4 * rows)
        level = factor * tl.load(sums + c, mask=c < columns, other=0.0) / (4 * rows) - mean * slope
    dbias = tl.zeros((BR, BC), tl.float32)
    p0 = tl.zeros((T, BC), tl.float32)
    p1 = tl.zeros((T, BC), tl.float32)
    p2 = tl.zeros((T, BC), tl.float32)
    p3 = tl.zeros((T, BC), tl.float32)
    for block in range(tl.program_id(1), tl.cdiv(rows, BR), tl.num_programs(1)):
        r = block * BR + tl.arange(0, BR)
        inside = (r < rows)[:, None] & (c < columns)[None, :]
        images = near_pixels(x, r, rows, H, W, K, T)
        x0, x1, x2, x3 = map_pixels(images, w0, w1, w2, w3)
        most, _, which = largest(x0, x1, x2, x3, factor, offset)
        value = upstream(gradient, most, r, c, columns, inside)
        if KEEP:
            value = _kept(value, keep, block, r, rows, c, columns, H // 2 * (W // 2), BR)
        if not NORM:
            dbias += value
        across = tl.trans(images)  # 0 past the last row, where the gradient of a norm is not
        p0 = _product(p0, across, x0, which, 0, value, factor, level, slope, NORM)
        p1 = _product(p1, across, x1, which, 1, value, factor, level, slope, NORM)
        p2 = _product(p2, across, x2, which, 2, value, factor, level, slope, NORM)
        p3 = _product(p3, across, x3, which, 3, value, factor, level, slope, NORM)
    total = moved(tl.zeros((T, BC), tl.float32), p0, 0, K, T)
    total = moved(moved(moved(total, p1, 1, K, T), p2, 2, K, T), p3, 3, K, T)
    t = tl.arange(0, T)
    out = parts + tl.program_id(1) * columns * T + c[None, :] * T + t[:, None]
    tl.store(out, total, mask=(c < columns)[None, :] & (t >= 0)[:, None])
    if not NORM:
        out = bias_parts + tl.program_id(1) * 2 * columns + c
        tl.store(out, tl.sum(dbias, 0), mask=c < columns)
        tl.store(out + columns, tl.zeros((BC,), tl.float32), mask=c < columns)


class _GreyNormPool(torch.autograd.Function):
    """The training pass. `keep` is float32 [N, C] or None."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, keep: Tensor | None, scales: Tensor, bias: Tensor,
        running_mean: Tensor, running_var: Tensor, momentum: float, eps: float,
    ) -> Tensor:  # fmt: skip
        rows, grid, sizes = _sizes(x, weight, FORWARD)
        parts = torch.empty(grid[1], 2, len(weight), device=x.device)
        _moments[grid](x, weight, running_mean, parts, rows, len(weight), **sizes)
        mean, scale = norm_relu.finished_moments(parts, running_mean, running_var, 4 * rows, momentum, eps)
        y = _output(x, weight, keep, (mean, scale, scales, bias), eps, running=False)
        ctx.save_for_backward(x, weight, keep, mean, scale, scales, bias)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight, keep, *norm = ctx.saved_tensors
        dweight, dscales, dbias = _gradients(gradient, x, weight, keep, tuple(norm), ctx.eps)
        return None, dweight, None, dscales, dbias, None, None, None, None


class _GreyBiasPool(torch.autograd.Function):
    """The pass with a bias instead of a norm. `keep` is float32 [N, C] or None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, keep: Tensor | None, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, keep, bias)
        return _output(x, weight, keep, (bias,), 0.0, running=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight, keep, bias = ctx.saved_tensors
        dweight, _, dbias = _gradients(gradient, x, weight, keep, (bias,), 0.0)
        return None, dweight, None, dbias.to(bias.dtype)


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, keep: Tensor | None, norm: tuple[Tensor, ...], eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of the convolution's weight, and of weight (of a norm) and bias."""
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    columns, normed = len(weight), len(norm) > 1
    inputs = gradient, x, weight, x if keep is None else keep, *four(norm)
    rows, grid, sizes = _sizes(x, weight, BACKWARD)
    parts = torch.empty(grid[1], columns, sizes["T"], device=x.device)
    bias_parts = torch.empty(grid[1], 2, columns, device=x.device)
    # without a norm the kernel reads no sums: it writes the bias's parts itself, which saves a pass
    sums = _norm_sums(inputs, columns, keep is not None, eps) if normed else bias_parts
    _backward[grid](*inputs, sums, parts, bias_parts, rows, columns, eps, NORM=normed, KEEP=keep is not None, **sizes)
    if not normed:
        sums = norm_relu.summed(bias_parts)
    return grey_convolution.summed(parts, weight), sums[1], sums[0]


def _norm_sums(inputs: tuple[Tensor, ...], columns: int, kept: bool, eps: float) -> Tensor:
    """Returns the gradients of a norm's bias and weight [2, C]. A kernel reads `inputs`."""
    rows, grid, sizes = _sizes(inputs[1], inputs[2], FORWARD)
    parts = torch.empty(grid[1], 2, columns, device=inputs[1].device)
    _backward_sums[grid](*inputs, parts, rows, columns, eps, KEEP=kept, **sizes)
    return norm_relu.summed(parts)


def _output(
    x: Tensor, weight: Tensor, keep: Tensor | None, norm: tuple[Tensor, ...], eps: float, running: bool
) -> Tensor:
    """Returns the pooled map.

    Args:
        norm: mean, 1/deviation (a variance if `running`), weight and bias; or a bias alone.
    """
    count, _, height, width = x.shape
    shape = count, len(weight), height // 2, width // 2
    y = torch.empty(shape, device=x.device, dtype=x.dtype, memory_format=torch.channels_last)
    rows, grid, sizes = _sizes(x, weight, FORWARD)
    _forward[grid](
        x, weight, x if keep is None else keep, y, *four(norm), rows, len(weight), eps,
        NORM=len(norm) > 1, KEEP=keep is not None, RUNNING=running, **sizes,
    )  # fmt: skip
    return y


def _sizes(x: Tensor, weight: Tensor, division: tuple[int, int, int]) -> tuple[int, tuple[int, int], dict[str, Any]]:
    """Returns the rows, programs over columns and rows, and the sizes to compile kernels for."""
    count, _, height, width = x.shape
    columns, kernel = len(weight), weight.shape[-1]
    rows, (down, warps, programs) = count * (height // 2) * (width // 2), division
    sizes = {"H": height, "W": width, "K": kernel, "T": max(16, triton.next_power_of_2((kernel + 1) ** 2))}
    sizes |= {"BR": down if x.element_size() == 2 else down // 2, "BC": COLUMNS if columns > 16 else 16}
    sizes |= {"num_warps": warps, "num_stages": 1}  # to load ahead costs more registers than it gains
    across = triton.cdiv(columns, sizes["BC"])
    return rows, (across, min(triton.cdiv(rows, sizes["BR"]), max(1, programs // across))), sizes


def grey_norm_relu_pool(norm: Any, x: Tensor, weight: Tensor, keep: Tensor | None) -> Tensor:
    """Returns the maxima of 2x2 pixels of relu(norm(convolution of x)), times keep.

    Gradients are those of a training pass. `x` gets none.

    Args:
        norm: a `torch.nn.BatchNorm2d` with running statistics.
        x: [N, 1, H, W], bfloat16 or float32. H and W are even.
        weight: [C, 1, K, K] of the same dtype, K odd.
        keep: float32 [N, C], factors of a dropout, or None.
    """
    x, weight = x.contiguous(), weight.contiguous()
    statistics = norm.running_mean, norm.running_var
    if norm.training:
        y: Tensor = _GreyNormPool.apply(x, weight, keep, norm.weight, norm.bias, *statistics, norm.momentum, norm.eps)
        return y
    return _output(x, weight, keep, (*statistics, norm.weight, norm.bias), norm.eps, running=True)


def grey_bias_relu_pool(x: Tensor, weight: Tensor, keep: Tensor | None, bias: Tensor) -> Tensor:
    """Returns the maxima of 2x2 pixels of relu(convolution of x + bias), times keep.

    `bias` is [C]. `x` gets no gradient.
    """
    y: Tensor = _GreyBiasPool.apply(x.contiguous(), weight.contiguous(), keep, bias)
    return y
