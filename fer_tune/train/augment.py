"""Draws what becomes of each image: flip, rotation, shift, scale, light, erasing, mixup and cutmix.

One strength in 0..1 scales all amounts. At 0 the output equals the input exactly. Amounts at
strength 1 are two to three times what suits 48x48 faces, so that a search also finds too much. A
few numbers for each image are drawn here. `kernels.image_changes` applies them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fer_tune.kernels.image_changes import Blend, Changes

FLIP = 0.5
"""Probability of mirroring. Strength 0.25 reaches it, and more keeps it: a mirrored face is as
good as the face."""
ROTATION = 15.0
"""Degrees to either side at strength 1. Twice as much cost a third of a point
(docs/what-helped.md)."""
SHIFT = 0.2
"""Shift as a fraction of the edge, in x and y, to either side at strength 1."""
SCALE = 0.25
"""Relative change of size to either side at strength 1."""
BRIGHTNESS = 0.3
"""Added to pixels in 0..1, to either side at strength 1."""
CONTRAST = 0.5
"""Relative change of the distance to the image's mean, to either side at strength 1."""
ERASING = 0.5
"""Probability at strength 1 that a rectangle is filled with the image's mean (Zhong et al.
2020)."""
ERASED = (0.1, 0.45)
"""Edges of that rectangle as fractions of the image's edge."""


def draw_changes(images: Tensor, strength: float) -> Changes:
    """Draws changes for `images`, [N, C, H, W], of which only the shape counts.

    Strength 0 changes nothing.
    """
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
    return Changes(
        affine=torch.stack((cos * sign, -sin, right, sin * sign, cos, down), dim=1).view(-1, 2, 3),
        brightness=brightness * (BRIGHTNESS * strength),
        contrast=1 + contrast * (CONTRAST * strength),
        erased=_rectangles(images, chosen, (high, wide), (drawn[10], drawn[11])),
    )


def draw_blend(images: Tensor, mixup: float, cutmix: float) -> Blend:
    """Draws mixtures for `images`, [N, C, H, W], of which only the shape counts.

    See `mix` for the probabilities.
    """
    draw, half, down, right = _uniform(4, images, needed=mixup > 0 or cutmix > 0)
    share = 1 - half / 2
    blended, cut = draw < mixup, (draw >= mixup) & (draw < mixup + cutmix)
    edge = (1 - share).sqrt()
    pasted = _rectangles(images, cut, (edge, edge), (down, right))
    kept = 1 - pasted[:, 2] * pasted[:, 3] / math.prod(images.shape[2:])  # what was cut, rounded to pixels
    return Blend(torch.where(blended, share, 1.0), pasted, torch.where(blended, share, kept))


@dataclass(frozen=True)
class Mixed:
    """Images and what they show: `share` of `first`, the rest of `second`.

    Attributes:
        images: float [N, C, H, W].
        first, second: int64 [N].
        share: float32 [N], at least 0.5.
    """

    images: Tensor
    first: Tensor
    second: Tensor
    share: Tensor


def augment(images: Tensor, strength: float) -> Tensor:
    """Returns the images moved, relit and erased, each by amounts of its own.

    Args:
        images: float32 [N, C, H, W], pixels in 0..1.
        strength: 0..1. At 0 the result is `images` themselves.
    """
    if strength == 0:
        return images
    return draw_changes(images, strength).apply(images)


def mix(images: Tensor, shown: Tensor, mixup: float, cutmix: float) -> Mixed:
    """Mixes some images with their neighbour in the (already shuffled) batch.

    The image itself keeps a share that is uniform in 0.5..1. That is Beta(1, 1) folded: which of
    a pair counts as the first is arbitrary.

    Args:
        images: float32 [N, C, H, W].
        shown: int64 [N], what each image shows: its label, or its place among the faces.
        mixup, cutmix: probabilities that an image is blended with its neighbour, or gets a
            rectangle of it. If they add to more than 1, cutmix has what mixup leaves.
    """
    if mixup == 0 and cutmix == 0:
        return Mixed(images, shown, shown, torch.ones(len(images), device=images.device))
    blend = draw_blend(images, mixup, cutmix)
    return Mixed(blend.apply(images), shown, shown.roll(1, 0), blend.share)


def _uniform(rows: int, images: Tensor, *, needed: bool) -> Tensor:
    """Returns float32 [rows, N] in 0..1, drawn in one launch.

    If they are not needed, all are 0 and none is drawn. So a seed means the same with and without
    the kernel.
    """
    shape = (rows, len(images))
    return torch.rand(shape, device=images.device) if needed else torch.zeros(shape, device=images.device)


def _rectangles(images: Tensor, chosen: Tensor, edges: Sequence[Tensor], places: Sequence[Tensor]) -> Tensor:
    """Returns rectangles inside the images, float32 [N, 4] (see `Changes`).

    Args:
        chosen: bool [N], which images get one.
        edges: height and width as fractions of the image's edges, [N] each.
        places: [N] each, in 0..1: from top to bottom, and from left to right.
    """
    (high, top), (wide, left) = (
        (length := (edge * whole).round(), torch.floor(place * (whole + 1 - length)))
        for edge, place, whole in zip(edges, places, images.shape[2:], strict=True)
    )
    return torch.stack((top, left, high * chosen, wide), dim=1)
