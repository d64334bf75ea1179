"""The map that a first 3x3 convolution makes of a grey image, computed wherever it is needed.

The kernels of `grey_norm_relu_pool` share these functions. A row is four pixels of the map, which
depend on E E = (K + 1) (K + 1) pixels of the image. These are gathered once, into T places. Four
matrices hold the weights where they lie for each of the four. With 3x3 kernels E E is 16, so that
no place is empty.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def near_pixels(x, r, rows, H: tl.constexpr, W: tl.constexpr, K: tl.constexpr, T: tl.constexpr):
    """Returns the pixels of the image that rows `r` depend on: [BR, T], 0 outside and past E E."""
    edge: tl.constexpr = K + 1
    t = tl.arange(0, T)
    line = r // (W // 2)  # counts through all images: two lines of the image for each
    top, left = line % (H // 2) * 2 - K // 2, r % (W // 2) * 2 - K // 2
    i, j = top[:, None] + (t // edge)[None, :], left[:, None] + (t % edge)[None, :]
    inside = (i >= 0) & (i < H) & (j >= 0) & (j < W) & (r < rows)[:, None]
    if edge * edge < T:
        inside = inside & (t < edge * edge)[None, :]
    place = (line * 2 - K // 2)[:, None] + (t // edge)[None, :]
    return tl.load(x + place * W + j, mask=inside, other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def _placed(weight, c, columns, k: tl.constexpr, K: tl.constexpr, T: tl.constexpr):
    """Returns the weights where they lie for pixel k: [T, BC], 0 at the image's other pixels."""
    t = tl.arange(0, T)
    i, j = t // (K + 1) - k // 2, t % (K + 1) - k % 2
    real = (i >= 0) & (i < K) & (j >= 0) & (j < K)
    place = c[None, :] * (K * K) + (i * K + j)[:, None]
    return tl.load(weight + place, mask=real[:, None] & (c < columns)[None, :], other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def placed_weights(weight, c, columns, K: tl.constexpr, T: tl.constexpr):
    """Returns `_placed` of the four pixels."""
    return (
        _placed(weight, c, columns, 0, K, T),
        _placed(weight, c, columns, 1, K, T),
        _placed(weight, c, columns, 2, K, T),
        _placed(weight, c, columns, 3, K, T),
    )


@triton.jit
def _pixel(images, weights):
    """Returns one pixel of the map for each row, float32 [BR, BC], rounded as if it were stored."""
    return tl.dot(images, weights, input_precision="ieee").to(images.dtype).to(tl.float32)


@triton.jit
def map_pixels(images, w0, w1, w2, w3):
    """Returns the four pixels of the map for each row."""
    return _pixel(images, w0), _pixel(images, w1), _pixel(images, w2), _pixel(images, w3)


@triton.jit  # type: ignore[untyped-decorator]
def moved(total, products, k: tl.constexpr, K: tl.constexpr, T: tl.constexpr):
    """Returns total plus the products for pixel k, from the image's pixels to the weights."""
    t, place = tl.arange(0, T)[:, None], tl.arange(0, T)[None, :]
    here = (t < K * K) & (place == (t // K + k // 2) * (K + 1) + t % K + k % 2)
    return tl.dot(tl.where(here, 1.0, 0.0), products, total, input_precision="ieee")
