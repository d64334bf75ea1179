"""Augmentation of whole batches on the device.

All amounts scale with one strength in 0..1; at 0 the output equals the input exactly. Values at
strength 1 are twice to three times what is moderate for 48x48 faces, so that a search finds too much as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

FLIP = 0.5
"""Probability of mirroring, reached at strength 0.25 and held: a mirrored face is as good as the face."""
ROTATION = 30.0
"""Degrees to either side at strength 1."""
SHIFT = 0.2
"""Shift as a fraction of the edge, in x and y, to either side at strength 1."""
SCALE = 0.25
"""Relative change of size to either side at strength 1."""
BRIGHTNESS = 0.3
"""Added to pixels in 0..1, to either side at strength 1."""
CONTRAST = 0.5
"""Relative change of the distance to the image's mean, to either side at strength 1."""
ERASING = 0.5
"""Probability at strength 1 that a rectangle is filled with the image's mean (Zhong et al. 2020)."""
ERASED = (0.1, 0.45)
"""Edges of that rectangle as fractions of the image's edge."""


@dataclass(frozen=True)
class Mixed:
    """Images and what they show: `share` of `first`, the rest of `second`.

    images: float [N, 1, H, W]; first, second: int64 [N]; share: float32 [N], at least 0.5.
    """

    images: Tensor
    first: Tensor
    second: Tensor
    share: Tensor


def augment(images: Tensor, strength: float) -> Tensor:
    """Geometry, light and erasing, drawn anew for each image.

    Args:
        images: float32 [N, 1, H, W], pixels in 0..1.
        strength: 0..1; 0 returns `images` themselves.
    """
    if strength == 0:
        return images
    return _erase(_light(_warp(images, strength), strength), strength)


def _spread(images: Tensor, width: float) -> Tensor:
    """Uniform in -width..width, one for each image: [N]."""
    return (torch.rand(len(images), device=images.device) * 2 - 1) * width


def _warp(images: Tensor, strength: float) -> Tensor:
    """One bilinear resampling for flip, rotation, shift and scale; what comes in from outside repeats the border."""
    angle = _spread(images, math.radians(ROTATION) * strength)
    size = 1 + _spread(images, SCALE * strength)
    mirrored = torch.rand(len(images), device=images.device) < FLIP * min(1.0, 4 * strength)
    sign = torch.where(mirrored, -1.0, 1.0)
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    # grid_sample's coordinates run from -1 to 1, so a shift by a fraction of the edge is twice that
    right, down = _spread(images, 2 * SHIFT * strength), _spread(images, 2 * SHIFT * strength)
    rows = torch.stack((cos * sign, -sin, right, sin * sign, cos, down), dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(rows, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _light(images: Tensor, strength: float) -> Tensor:
    brightness = _spread(images, BRIGHTNESS * strength)[:, None, None, None]
    contrast = 1 + _spread(images, CONTRAST * strength)[:, None, None, None]
    mean = images.mean((1, 2, 3), keepdim=True)
    return ((images - mean) * contrast + mean + brightness).clamp_(0, 1)


def _erase(images: Tensor, strength: float) -> Tensor:
    chosen = torch.rand(len(images), device=images.device) < ERASING * strength
    smallest, largest = ERASED
    height = smallest + (largest - smallest) * torch.rand(len(images), device=images.device)
    width = smallest + (largest - smallest) * torch.rand(len(images), device=images.device)
    inside = _rectangles(images, height, width) & chosen[:, None, None]
    return torch.where(inside[:, None], images.mean((1, 2, 3), keepdim=True), images)


def _rectangles(images: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """bool [N, H, W], true in a rectangle at a random place wholly inside; sizes are fractions of the edges, [N]."""
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    high, wide = (height * len(rows)).round()[:, None], (width * len(columns)).round()[:, None]
    top = torch.floor(torch.rand_like(high) * (len(rows) - high + 1))
    left = torch.floor(torch.rand_like(wide) * (len(columns) - wide + 1))
    in_rows = (rows >= top) & (rows < top + high)
    in_columns = (columns >= left) & (columns < left + wide)
    return in_rows[:, :, None] & in_columns[:, None, :]


def mix(images: Tensor, shown: Tensor, mixup: float, cutmix: float) -> Mixed:
    """Mixes some images with their neighbour in the (already shuffled) batch.

    A share uniform in 0.5..1 stays with the image itself: Beta(1, 1) folded, since which of a pair
    counts as the first is arbitrary.

    Args:
        images: float32 [N, 1, H, W]; shown: int64 [N], what each shows: its label, or its place among the faces.
        mixup, cutmix: probabilities that an image is blended with, or gets a rectangle of, its
            neighbour; where they add to more than 1, cutmix has what mixup leaves.
    """
    own = torch.ones(len(images), device=images.device)
    if mixup == 0 and cutmix == 0:
        return Mixed(images, shown, shown, own)
    others, other_shown = images.roll(1, 0), shown.roll(1, 0)
    draw = torch.rand(len(images), device=images.device)
    share = 1 - torch.rand(len(images), device=images.device) / 2

    blended = draw < mixup
    weight = torch.where(blended, share, own)[:, None, None, None]
    mixed = images * weight + others * (1 - weight)

    cut = (draw >= mixup) & (draw < mixup + cutmix)
    edge = (1 - share).sqrt()
    patch = _rectangles(images, edge, edge) & cut[:, None, None]
    mixed = torch.where(patch[:, None], others, mixed)
    kept = 1 - patch.float().mean((1, 2))  # the area that was really cut, after rounding to pixels
    return Mixed(mixed, shown, other_shown, torch.where(blended, share, kept))
