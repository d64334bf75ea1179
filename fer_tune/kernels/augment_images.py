"""Draws an epoch's images in one pass, for CUDA devices with Triton.

torch's operations read and write the images, in float32, some thirty times. Here a program makes
one image in registers, from the bytes of its face and, if they are mixed, of its neighbour's.
`image_changes` holds the formulas in torch's operations. CPUs run those, and tests compare both.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fer_tune.kernels.image_changes import Blend, Changes


@triton.jit
def _inside(rectangles, n, row, column):
    """Returns whether pixels are in rectangle `n` (top, left, height, width)."""
    top, left = tl.load(rectangles + 4 * n), tl.load(rectangles + 4 * n + 1)
    high, wide = tl.load(rectangles + 4 * n + 2), tl.load(rectangles + 4 * n + 3)
    return (row >= top) & (row < top + high) & (column >= left) & (column < left + wide)


@triton.jit  # type: ignore[untyped-decorator]  # triton has no types
def _changed(faces, chosen, n, affine, brightness, contrast, erased, pixel, H: tl.constexpr, W: tl.constexpr):
    """Returns image `n` before it is mixed, float32 [BLOCK]. Pixels outside have any value."""
    row, column, inside = pixel // W, pixel % W, pixel < H * W
    face = faces + tl.load(chosen + n) * (H * W)

    # as affine_grid and grid_sample, but from the middle and in pixels, so no change is exact
    x, y = column - (W - 1) / 2, row - (H - 1) / 2
    affine += 6 * n
    x_old = tl.load(affine) * x + tl.load(affine + 1) * (W / H) * y + tl.load(affine + 2) * (W / 2) + (W - 1) / 2
    y_old = tl.load(affine + 3) * (H / W) * x + tl.load(affine + 4) * y + tl.load(affine + 5) * (H / 2) + (H - 1) / 2
    x_old, y_old = tl.minimum(tl.maximum(x_old, 0.0), W - 1.0), tl.minimum(tl.maximum(y_old, 0.0), H - 1.0)
    left, top = x_old.to(tl.int32), y_old.to(tl.int32)
    right, below = tl.minimum(left + 1, W - 1), tl.minimum(top + 1, H - 1)
    to_right, to_below = x_old - left, y_old - top
    upper = tl.load(face + top * W + left) * (1 - to_right) + tl.load(face + top * W + right) * to_right
    lower = tl.load(face + below * W + left) * (1 - to_right) + tl.load(face + below * W + right) * to_right
    image = (upper * (1 - to_below) + lower * to_below) * (1 / 255)

    mean = tl.sum(tl.where(inside, image, 0.0)) / (H * W)
    factor = tl.load(contrast + n)
    image = image * factor + (mean * (1 - factor) + tl.load(brightness + n))
    image = tl.minimum(tl.maximum(image, 0.0), 1.0)
    mean = tl.sum(tl.where(inside, image, 0.0)) / (H * W)
    return tl.where(_inside(erased, n, row, column), mean, image)


@triton.jit  # type: ignore[untyped-decorator]
def _write(
    images, faces, chosen, affine, brightness, contrast, erased, weight, pasted, mean, scale,
    H: tl.constexpr, W: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(0)
    pixel = tl.arange(0, BLOCK)
    image = _changed(faces, chosen, n, affine, brightness, contrast, erased, pixel, H, W)
    own = tl.load(weight + n)
    if (own < 1) | (tl.load(pasted + 4 * n + 2) > 0):
        before = tl.where(n == 0, tl.num_programs(0), n) - 1
        other = _changed(faces, chosen, before, affine, brightness, contrast, erased, pixel, H, W)
        blended = image * own + other * (1 - own)
        image = tl.where(_inside(pasted, n, pixel // W, pixel % W), other, blended)
    at = images + n.to(tl.int64) * (H * W) + pixel
    tl.store(at, ((image - mean) * scale).to(images.dtype.element_ty), mask=pixel < H * W)


def write_changed(
    images: Tensor, faces: Tensor, chosen: Tensor, changes: Changes, blend: Blend, mean: float, std: float
) -> None:
    """Writes the chosen faces, changed, mixed and normalised.

    Args:
        images: bfloat16 or float32 [N, 1, H, W], contiguous. It is written.
        faces: uint8 [M, 1, H, W].
        chosen: int64 [N], places in `faces`.
        changes, blend: the changes of each of the N images.
        mean, std: of pixels in 0..1. The result is in units of `std` from `mean`.
    """
    height, width = images.shape[2:]
    _write[(len(images),)](
        images, faces, chosen, changes.affine, changes.brightness, changes.contrast, changes.erased,
        blend.weight, blend.pasted, mean, 1 / std,
        H=height, W=width, BLOCK=triton.next_power_of_2(height * width), num_warps=16,
    )  # fmt: skip
