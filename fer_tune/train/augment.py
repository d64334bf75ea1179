"""Augmentation of whole batches on the device.

All amounts scale with one strength in 0..1; at 0 the output equals the input exactly. Values at
strength 1 are twice to three times what is moderate for 48x48 faces, so that a search finds too much as well.

What becomes of each image is drawn first (`Changes`, `Blend`), a few numbers an image, and then applied: here in
torch's operations, and on CUDA devices with Triton by `augment_kernels`, in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

FLIP = 0.5
"""Probability of mirroring, reached at strength 0.25 and held: a mirrored face is as good as the face."""
ROTATION = 15.0
"""Degrees to either side at strength 1: twice as much was a third of a point worse (docs/what-helped.md)."""
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
class Changes:
    """What becomes of each of N images by itself; all float32.

    affine: [N, 2, 3], where a pixel of the new image lies in the old one, as in `torch.nn.functional.affine_grid`.
    brightness: [N], added to each pixel; contrast: [N], a factor on its distance to the image's mean.
    erased: [N, 4], a rectangle (see `_rectangles`) that is filled with the image's mean.
    """

    affine: Tensor
    brightness: Tensor
    contrast: Tensor
    erased: Tensor

    @classmethod
    def draw(cls, images: Tensor, strength: float) -> Changes:
        """For images [N, 1, H, W], whose pixels do not matter, at a strength in 0..1; 0 changes nothing."""
        drawn = _uniform(12, images, needed=strength > 0)
        mirrored, chosen = drawn[2] < FLIP * min(1.0, 4 * strength), drawn[7] < ERASING * strength
        angle, size, _, right, down, brightness, contrast, *_ = drawn * 2 - 1
        angle, size = angle * (math.radians(ROTATION) * strength), 1 + size * (SCALE * strength)
        sign = 1 - 2 * mirrored
        cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
        # affine_grid's coordinates run from -1 to 1, so a shift by a fraction of the edge is twice that
        right, down = right * (2 * SHIFT * strength), down * (2 * SHIFT * strength)
        smallest, largest = ERASED
        high, wide = smallest + (largest - smallest) * drawn[8:10]
        return cls(
            affine=torch.stack((cos * sign, -sin, right, sin * sign, cos, down), dim=1).view(-1, 2, 3),
            brightness=brightness * (BRIGHTNESS * strength),
            contrast=1 + contrast * (CONTRAST * strength),
            erased=_rectangles(images, chosen, (high, wide), (drawn[10], drawn[11])),
        )

    def apply(self, images: Tensor) -> Tensor:
        """Geometry, light and erasing, float32 [N, 1, H, W] with pixels in 0..1."""
        return _erase(_light(_warp(images, self), self), self)


@dataclass(frozen=True)
class Blend:
    """What each of N images gets from its neighbour; all float32.

    weight: [N], what the image itself weighs in each of its pixels, the rest being the neighbour's.
    pasted: [N, 4], a rectangle (see `_rectangles`) that is the neighbour's.
    share: [N], how much of the whole is the image itself.
    """

    weight: Tensor
    pasted: Tensor
    share: Tensor

    @classmethod
    def draw(cls, images: Tensor, mixup: float, cutmix: float) -> Blend:
        """For images [N, 1, H, W], whose pixels do not matter; see `mix` for the probabilities."""
        draw, half, down, right = _uniform(4, images, needed=mixup > 0 or cutmix > 0)
        share = 1 - half / 2
        blended, cut = draw < mixup, (draw >= mixup) & (draw < mixup + cutmix)
        edge = (1 - share).sqrt()
        pasted = _rectangles(images, cut, (edge, edge), (down, right))
        kept = 1 - pasted[:, 2] * pasted[:, 3] / math.prod(images.shape[2:])  # what was cut, rounded to pixels
        return cls(torch.where(blended, share, 1.0), pasted, torch.where(blended, share, kept))

    def apply(self, images: Tensor) -> Tensor:
        """Each image, float32 [N, 1, H, W], with what it gets from the one before it."""
        weight, others = self.weight[:, None, None, None], images.roll(1, 0)
        return torch.where(_inside(images, self.pasted), others, images * weight + others * (1 - weight))


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
    return Changes.draw(images, strength).apply(images)


def mix(images: Tensor, shown: Tensor, mixup: float, cutmix: float) -> Mixed:
    """Mixes some images with their neighbour in the (already shuffled) batch.

    A share uniform in 0.5..1 stays with the image itself: Beta(1, 1) folded, since which of a pair
    counts as the first is arbitrary.

    Args:
        images: float32 [N, 1, H, W]; shown: int64 [N], what each shows: its label, or its place among the faces.
        mixup, cutmix: probabilities that an image is blended with, or gets a rectangle of, its
            neighbour; where they add to more than 1, cutmix has what mixup leaves.
    """
    if mixup == 0 and cutmix == 0:
        return Mixed(images, shown, shown, torch.ones(len(images), device=images.device))
    blend = Blend.draw(images, mixup, cutmix)
    return Mixed(blend.apply(images), shown, shown.roll(1, 0), blend.share)


def _uniform(rows: int, images: Tensor, *, needed: bool) -> Tensor:
    """Uniform in 0..1, float32 [rows, N], by one launch; on the CPU these are the numbers of a call for each row.

    Where they are not needed all are 0 and none is drawn, so that a seed means the same with and without the kernel.
    """
    shape = (rows, len(images))
    return torch.rand(shape, device=images.device) if needed else torch.zeros(shape, device=images.device)


def _warp(images: Tensor, changes: Changes) -> Tensor:
    """One bilinear resampling for flip, rotation, shift and scale; what comes in from outside repeats the border."""
    grid = functional.affine_grid(changes.affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _light(images: Tensor, changes: Changes) -> Tensor:
    brightness, contrast = changes.brightness[:, None, None, None], changes.contrast[:, None, None, None]
    mean = images.mean((1, 2, 3), keepdim=True)
    return ((images - mean) * contrast + mean + brightness).clamp_(0, 1)


def _erase(images: Tensor, changes: Changes) -> Tensor:
    return torch.where(_inside(images, changes.erased), images.mean((1, 2, 3), keepdim=True), images)


def _rectangles(images: Tensor, chosen: Tensor, edges: Sequence[Tensor], places: Sequence[Tensor]) -> Tensor:
    """Top, left, height and width in whole pixels, wholly inside the image: float32 [N, 4]; of height 0: none.

    Args:
        chosen: bool [N], which images get one.
        edges: height and width as fractions of the image's edges, [N] each.
        places: uniform in 0..1, [N] each, where it lies between top and bottom, and between left and right.
    """
    (high, top), (wide, left) = (
        (length := (edge * whole).round(), torch.floor(place * (whole + 1 - length)))
        for edge, place, whole in zip(edges, places, images.shape[2:], strict=True)
    )
    return torch.stack((top, left, high * chosen, wide), dim=1)


def _inside(images: Tensor, rectangles: Tensor) -> Tensor:
    """bool [N, 1, H, W], whether a pixel lies in its image's rectangle, [N, 4]."""
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    top, left, high, wide = rectangles[:, :, None].unbind(1)
    in_rows = (rows >= top) & (rows < top + high)
    in_columns = (columns >= left) & (columns < left + wide)
    return in_rows[:, None, :, None] & in_columns[:, None, None, :]
