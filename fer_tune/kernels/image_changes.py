"""What becomes of each image of an epoch, and how torch's operations apply it.

`train.augment` draws these numbers. The kernel in `augment_images` applies the same formulas in one
pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Changes:
    """What becomes of each of N images by itself. All tensors are float32.

    A rectangle is its top, left, height and width in whole pixels. Height 0 means no rectangle.

    Attributes:
        affine: [N, 2, 3], from a pixel of the new image to its place in the old one, as in
            `torch.nn.functional.affine_grid`.
        brightness: [N], added to each pixel.
        contrast: [N], a factor on each pixel's distance to the image's mean.
        erased: [N, 4], a rectangle that is filled with the image's mean.
    """

    affine: Tensor
    brightness: Tensor
    contrast: Tensor
    erased: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """Returns the images, float32 [N, C, H, W] with pixels in 0..1, moved, relit and erased."""
        return self._erase(self._light(self._warp(images)))

    def _warp(self, images: Tensor) -> Tensor:
        """Resamples once for all geometry. Pixels from outside repeat the border."""
        grid = functional.affine_grid(self.affine, list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)

    def _light(self, images: Tensor) -> Tensor:
        brightness, contrast = self.brightness[:, None, None, None], self.contrast[:, None, None, None]
        mean = images.mean((1, 2, 3), keepdim=True)
        return ((images - mean) * contrast + mean + brightness).clamp_(0, 1)

    def _erase(self, images: Tensor) -> Tensor:
        return torch.where(_inside(images, self.erased), images.mean((1, 2, 3), keepdim=True), images)


@dataclass(frozen=True)
class Blend:
    """What each of N images gets from the one before it. All tensors are float32.

    Attributes:
        weight: [N], the image's own weight in each of its pixels. The other image has the rest.
        pasted: [N, 4], a rectangle (see `Changes`) that shows the other image.
        share: [N], how much of the whole is the image itself.
    """

    weight: Tensor
    pasted: Tensor
    share: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """Returns each image, float32 [N, C, H, W], with what it gets from the one before it."""
        weight, others = self.weight[:, None, None, None], images.roll(1, 0)
        return torch.where(_inside(images, self.pasted), others, images * weight + others * (1 - weight))


def write_changed(
    images: Tensor, faces: Tensor, chosen: Tensor, changes: Changes, blend: Blend, mean: float, std: float
) -> None:
    """Writes the chosen faces, changed, mixed and normalised, as the kernel of this name does."""
    changed = changes.apply(faces[chosen].float() / 255)
    images.copy_((blend.apply(changed) - mean) / std)


def _inside(images: Tensor, rectangles: Tensor) -> Tensor:
    """Returns bool [N, 1, H, W], whether a pixel is in its image's rectangle, [N, 4]."""
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    top, left, high, wide = rectangles[:, :, None].unbind(1)
    in_rows = (rows >= top) & (rows < top + high)
    in_columns = (columns >= left) & (columns < left + wide)
    return in_rows[:, None, :, None] & in_columns[:, None, None, :]
