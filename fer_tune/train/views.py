"""The views of an image whose predictions are averaged (test-time augmentation)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn import functional

from fer_tune.job import Tta

SHIFT = 24
"""A network that was trained on whole images sees them shifted by a 24th of the side: 2 of 48
pixels. The five windows are those of crops of 44 pixels."""


def views(images: Tensor, tta: Tta, side: int) -> Iterator[Tensor]:
    """Yields batches [N, C, side, side] of images [N, C, S, S], where S is at least `side`.

    `none` is the middle of the image. `flip` adds its mirror image. `crops` are the middle and the
    four corners, each with its mirror image: ten views.
    """
    if tta == "crops":
        images = _wider(images, side)
        whole = images.shape[-1]
        ends = (0, whole - side)
        places = [((whole - side) // 2,) * 2, *((top, left) for top in ends for left in ends)]
    else:
        places = [((images.shape[-1] - side) // 2,) * 2]
    for top, left in places:
        view = images[:, :, top : top + side, left : left + side]
        yield view
        if tta != "none":
            yield view.flip(3)


def _wider(images: Tensor, side: int) -> Tensor:
    """Returns images with room for crops. Their edges are repeated if they have none."""
    margin = max(1, round(side / SHIFT))
    return functional.pad(images, (margin,) * 4, mode="replicate") if images.shape[-1] == side else images
