"""Antialiased pooling in one pass, for CUDA devices with Triton.

torch takes the maximum at every place and stores where each came from, as int64: four times the map
in bfloat16. Then it averages. Forward and backward this moves some twenty times the map's bytes.
Here the maxima are in registers, and the backward pass finds again where they came from.
`formulas.antialiased_pool` is the same in torch's operations. CPUs run it, and a test on a GPU
compares both.

A map [N, C, H, W] in channels_last is a matrix of N H W rows and C columns. A window is 2x2 pixels
and is named by its upper left one. Output (i, j) is the mean of the windows at (2i, 2j),
(2i, 2j + 1), (2i + 1, 2j) and (2i + 1, 2j + 1), of those that are inside.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fer_tune.kernels.norm_relu import exceeds

BLOCK_ROWS = 32
BLOCK_COLUMNS = 64


@triton.jit
def _pixel(x, row, i, j, height, width, c, columns):
    """Returns x at (i, j) of the image that begins at `row`, float32 [BR, BC]; -inf outside."""
    inside = ((i >= 0) & (i < height) & (j >= 0) & (j < width))[:, None] & (c < columns)[None, :]
    at = (row + i * width + j)[:, None] * columns + c[None, :]
    return tl.load(x + at, mask=inside, other=-float("inf")).to(tl.float32)


@triton.jit
def _larger(a, b):
    """Returns the larger one, and NaN if one of them is. tl.maximum would return the other."""
    return tl.where(exceeds(b, a), b, a)


@triton.jit  # type: ignore[untyped-decorator]
def _forward(x, y, height, width, high, wide, rows, columns, BR: tl.constexpr, BC: tl.constexpr):
    r = tl.program_id(0) * BR + tl.arange(0, BR)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    image, i, j = r // (high * wide), 2 * (r // wide % high), 2 * (r % wide)
    row = tl.where(r < rows, image, 0) * height * width
    total = tl.zeros((BR, BC), tl.float32)
    for di in tl.static_range(2):
        for dj in tl.static_range(2):
            most = _pixel(x, row, i + di, j + dj, height, width, c, columns)
            most = _larger(most, _pixel(x, row, i + di, j + dj + 1, height, width, c, columns))
            most = _larger(most, _pixel(x, row, i + di + 1, j + dj, height, width, c, columns))
            most = _larger(most, _pixel(x, row, i + di + 1, j + dj + 1, height, width, c, columns))
            whole = (i + di < height - 1) & (j + dj < width - 1)
            total += tl.where(whole[:, None], most, 0.0)
    count = tl.where(i < height - 2, 2, 1) * tl.where(j < width - 2, 2, 1)
    inside = (r < rows)[:, None] & (c < columns)[None, :]
    mean = total / count.to(tl.float32)[:, None]
    tl.store(y + r[:, None] * columns + c[None, :], mean.to(y.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(gradient, x, dx, height, width, high, wide, rows, columns, BR: tl.constexpr, BC: tl.constexpr):
    """Gathers each pixel's gradient from its four windows.

    A window's first largest pixel has it.
    """
    r = tl.program_id(0) * BR + tl.arange(0, BR)
    c = tl.program_id(1) * BC + tl.arange(0, BC)
    image, i, j = r // (height * width), r // width % height, r % width
    row = tl.where(r < rows, image, 0) * height * width
    own = _pixel(x, row, i, j, height, width, c, columns)
    total = tl.zeros((BR, BC), tl.float32)
    for di in tl.static_range(2):
        for dj in tl.static_range(2):
            # the window at (i - di, j - dj), where this pixel is number 2 di + dj
            top, left = i - di, j - dj
            chosen = (top >= 0)[:, None] & (left >= 0)[:, None]
            chosen = chosen & (top < height - 1)[:, None] & (left < width - 1)[:, None]
            for pi in tl.static_range(2):
                for pj in tl.static_range(2):
                    if 2 * pi + pj < 2 * di + dj:
                        chosen = chosen & (own > _pixel(x, row, top + pi, left + pj, height, width, c, columns))
                    if 2 * pi + pj > 2 * di + dj:
                        chosen = chosen & (own >= _pixel(x, row, top + pi, left + pj, height, width, c, columns))
            oi, oj = top // 2, left // 2
            count = tl.where(2 * oi < height - 2, 2, 1) * tl.where(2 * oj < width - 2, 2, 1)
            at = ((image * high + oi) * wide + oj)[:, None] * columns + c[None, :]
            value = tl.load(gradient + at, mask=chosen & (r < rows)[:, None] & (c < columns)[None, :], other=0.0)
            total += value.to(tl.float32) / count.to(tl.float32)[:, None]
    inside = (r < rows)[:, None] & (c < columns)[None, :]
    tl.store(dx + r[:, None] * columns + c[None, :], total.to(dx.dtype.element_ty), mask=inside)


class _AntialiasedPoolFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        count, columns, height, width = x.shape
        high, wide = height // 2, width // 2
        y = torch.empty((count, columns, high, wide), device=x.device, dtype=x.dtype, memory_format=torch.channels_last)
        ctx.save_for_backward(x)
        _launch(_forward, y, (x, y), (height, width, high, wide))
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        dx = torch.empty_like(x)
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        _launch(_backward, dx, (gradient, x, dx), (*x.shape[2:], *gradient.shape[2:]))
        return dx


def _launch(kernel: Any, over: Tensor, tensors: tuple[Tensor, ...], edges: tuple[int, ...]) -> None:
    """Runs a kernel over all pixels and channels of `over`."""
    columns = over.shape[1]
    rows = over.numel() // columns
    grid = (triton.cdiv(rows, BLOCK_ROWS), triton.cdiv(columns, BLOCK_COLUMNS))
    kernel[grid](*tensors, *edges, rows, columns, BR=BLOCK_ROWS, BC=BLOCK_COLUMNS)


def antialiased_pool(x: Tensor) -> Tensor:
    """Returns the 2x2 means of the maxima of 2x2 windows everywhere: [N, C, H // 2, W // 2].

    Args:
        x: [N, C, H, W], bfloat16 or float32, channels_last. H and W are at least 2.
    """
    y: Tensor = _AntialiasedPoolFunction.apply(x.contiguous(memory_format=torch.channels_last))
    return y
