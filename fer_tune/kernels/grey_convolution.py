"""The first convolution, from one grey channel, for CUDA devices with Triton.

cuDNN has no kernel for one input channel in channels_last. It uses a general engine and copies
between memory layouts, which costs several times what writing the output does. Here each program
gathers the K K grey values under the kernel at a block of output pixels, a row for each pixel. It
multiplies them by the weights on tensor cores. The gradient of the weights is the product of the
same rows and the gradient of the output. An image needs no gradient. `formulas.grey_convolution` is
torch's convolution, and a test on a GPU compares both.

Images [N, 1, H, W] are N H W values in a row. The output [N, C, I, J] in channels_last is a matrix
of R = N I J rows and C columns. The gradient is summed in two steps, partial sums and then their
total, so that it does not depend on the order of execution.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_ROWS = 128
"""Rows of a block in bfloat16. float32 has a quarter: it needs registers, not tensor cores."""

PROGRAMS = 528
"""Programs that sum at once: four for each multiprocessor of an H100. Smaller ones queue some."""


@triton.jit  # type: ignore[untyped-decorator]
def _patches(x, r, rows, H: tl.constexpr, W: tl.constexpr, K: tl.constexpr, STRIDE: tl.constexpr, T: tl.constexpr):
    """Returns the pixels under the kernel at outputs `r`: [BR, T], 0 outside and past K K."""
    high: tl.constexpr = (H - 1) // STRIDE + 1
    wide: tl.constexpr = (W - 1) // STRIDE + 1
    t = tl.arange(0, T)
    image, top, left = r // (high * wide), r // wide % high * STRIDE - K // 2, r % wide * STRIDE - K // 2
    i, j = top[:, None] + (t // K)[None, :], left[:, None] + (t % K)[None, :]
    inside = (i >= 0) & (i < H) & (j >= 0) & (j < W) & (r < rows)[:, None] & (t < K * K)[None, :]
    return tl.load(x + image[:, None] * (H * W) + i * W + j, mask=inside, other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def _forward(
    x, weight, y, rows, columns, H: tl.constexpr, W: tl.constexpr, K: tl.constexpr,
    STRIDE: tl.constexpr, T: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(0) * BR + tl.arange(0, BR)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    t = tl.arange(0, T)
    real = (t < K * K)[:, None] & (c < columns)[None, :]
    factors = tl.load(weight + c[None, :] * (K * K) + t[:, None], mask=real, other=0.0)
    total = tl.dot(_patches(x, r, rows, H, W, K, STRIDE, T), factors, input_precision="ieee")
    inside = (r < rows)[:, None] & (c < columns)[None, :]
    tl.store(y + r[:, None] * columns + c[None, :], total.to(y.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _backward_sums(
    gradient, x, parts, rows, columns, chunk, H: tl.constexpr, W: tl.constexpr, K: tl.constexpr,
    STRIDE: tl.constexpr, T: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Writes partial sums [C, T] of the gradients of the weights, in K K columns."""
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    t = tl.arange(0, T)
    first = tl.program_id(1) * chunk
    total = tl.zeros((BC, T), tl.float32)
    for at in range(first, tl.minimum(first + chunk, rows), BR):
        r = at + tl.arange(0, BR)
        inside = (r < rows)[:, None] & (c < columns)[None, :]
        value = tl.load(gradient + r[:, None] * columns + c[None, :], mask=inside, other=0.0)
        patches = _patches(x, r, rows, H, W, K, STRIDE, T)
        total = tl.dot(tl.trans(value), patches, total, input_precision="ieee")
    out = parts + tl.program_id(1) * columns * T + c[:, None] * T + t[None, :]
    tl.store(out, total, mask=(c < columns)[:, None] & (t >= 0)[None, :])


@triton.jit  # type: ignore[untyped-decorator]
def _finish(
    parts, count, dweight, columns, K: tl.constexpr, T: tl.constexpr, BP: tl.constexpr, BF: tl.constexpr,
):  # fmt: skip
    """Writes the totals of the partial sums, in the weights' dtype."""
    f = tl.program_id(0) * BF + tl.arange(0, BF)
    c, t = f // T, f % T
    total = tl.zeros((BP, BF), tl.float32)
    for at in range(0, count, BP):
        p = at + tl.arange(0, BP)
        inside = (p < count)[:, None] & (c < columns)[None, :]
        total += tl.load(parts + p[:, None] * columns * T + f[None, :], mask=inside, other=0.0)
    value = tl.sum(total, 0)
    tl.store(dweight + c * (K * K) + t, value.to(dweight.dtype.element_ty), mask=(c < columns) & (t < K * K))


class _GreyConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        count, _, height, width = x.shape
        columns, high, wide = len(weight), (height - 1) // stride + 1, (width - 1) // stride + 1
        y = torch.empty((count, columns, high, wide), device=x.device, dtype=x.dtype, memory_format=torch.channels_last)
        rows, across, sizes = _sizes(x, weight, stride)
        _forward[(triton.cdiv(rows, sizes["BR"]), across)](x, weight, y, rows, columns, **sizes)
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        columns = len(weight)
        rows, across, sizes = _sizes(x, weight, ctx.stride)
        blocks = triton.cdiv(rows, sizes["BR"])
        chunk = triton.cdiv(blocks, max(1, PROGRAMS // across)) * sizes["BR"]
        count = triton.cdiv(rows, chunk)
        parts = torch.empty(count, columns, sizes["T"], device=x.device)
        _backward_sums[(across, count)](gradient, x, parts, rows, columns, chunk, **sizes)
        return None, summed(parts, weight), None


def summed(parts: Tensor, weight: Tensor) -> Tensor:
    """Returns the gradient of the weights, given partial sums: float32 [parts, C, T]."""
    dweight = torch.empty_like(weight)
    count, columns, places = parts.shape
    _finish[(triton.cdiv(columns * places, 16),)](
        parts, count, dweight, columns, K=weight.shape[-1], T=places, BP=256, BF=16
    )
    return dweight


def _sizes(x: Tensor, weight: Tensor, stride: int) -> tuple[int, int, dict[str, int]]:
    """Returns the output's rows, blocks of its columns, and the sizes to compile kernels for."""
    count, _, height, width = x.shape
    columns, kernel = len(weight), weight.shape[-1]
    block = min(64, max(16, triton.next_power_of_2(columns)))
    sizes = {"H": height, "W": width, "K": kernel, "STRIDE": stride, "BC": block}
    sizes["T"] = max(16, triton.next_power_of_2(kernel * kernel))
    sizes["BR"] = BLOCK_ROWS if x.element_size() == 2 else BLOCK_ROWS // 4
    return count * ((height - 1) // stride + 1) * ((width - 1) // stride + 1), triton.cdiv(columns, block), sizes


def grey_convolution(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Returns the convolution of grey images, padded by K // 2. `x` gets no gradient.

    Args:
        x: [N, 1, H, W], bfloat16 or float32.
        weight: [C, 1, K, K] of the same dtype, K odd.

    Returns:
        [N, C, ceil(H / stride), ceil(W / stride)], channels_last, summed in float32.
    """
    # with one channel, contiguous and channels_last are the same bytes: neither call copies
    y: Tensor = _GreyConvolution.apply(x.contiguous(), weight.contiguous(), stride)
    return y
