"""The images of a job in device memory, and a whole epoch of them prepared at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fer_tune.data.access import SearchData
from fer_tune.data.dataset import Images, Indices
from fer_tune.data.spec import FER2013, DataSpec
from fer_tune.models.layers import fused
from fer_tune.train.augment import Mixed, augment, draw_blend, draw_changes, mix
from fer_tune.train.config import TrainConfig
from fer_tune.train.sampling import epoch_order, several_views

CHUNK = {"cuda": 32768, "cpu": 1024}
"""Images of FER2013's size augmented at once: many on a GPU (2 GB without Triton), few in a CPU's
caches."""

LARGEST_FUSED = 64 * 64
"""Pixels of the largest image that the kernel augments: one program holds a whole image."""


@dataclass(frozen=True)
class DeviceData:
    """What is fitted and what is evaluated, on one device.

    Attributes:
        images, labels: uint8 [N, C, S, S] and int64 [N], to fit.
        held, held_labels: the same of the validation part, ready for a network: `dtype`
            [V, S, S, C], normalised; empty in a final fit.
        dtype: what networks compute with.
        mean, std: of the fitted pixels in 0..1; inputs are normalised with them.
        spec: what the images are.
    """

    images: Tensor
    labels: Tensor
    held: Tensor
    held_labels: Tensor
    mean: float
    std: float
    spec: DataSpec
    dtype: torch.dtype

    @classmethod
    def load(cls, data: SearchData, fit: str, device: torch.device) -> DeviceData:
        """Copies the parts that `fit` names (see `Job.fit`) to `device`."""
        fitted, held = data.train, data.val
        if fit != "train":
            fitted, held = torch.cat((torch.from_numpy(fitted), torch.from_numpy(held))).numpy(), held[:0]
        images = _channels_first(data.images, fitted).to(device)
        mean, std = _moments(images)
        std, dtype = max(std, 1e-3), compute_dtype(device)
        held_images = normalised(_channels_first(data.images, held).to(device), mean, std)
        return cls(
            images=images,
            labels=torch.from_numpy(data.labels[fitted]).to(device),
            held=held_images.to(dtype).permute(0, 2, 3, 1).contiguous(),
            held_labels=torch.from_numpy(data.labels[held]).to(device),
            mean=mean,
            std=std,
            spec=data.spec,
            dtype=dtype,
        )

    def normalised(self, images: Tensor) -> Tensor:
        """Returns images with mean 0 and deviation 1, float32, of uint8 or of floats in 0..1."""
        return normalised(images, self.mean, self.std)


def normalised(images: Tensor, mean: float, std: float) -> Tensor:
    """Returns `(images - mean) / std`, float32, of uint8 or of floats in 0..1."""
    pixels = images.float() / 255 if images.dtype == torch.uint8 else images
    return (pixels - mean) / std


def _channels_first(images: Images, chosen: Indices) -> Tensor:
    """Returns the chosen images, uint8 [n, C, S, S], from [N, S, S] or [N, S, S, 3]."""
    pixels = torch.from_numpy(images[chosen])
    return pixels[:, None] if pixels.dim() == 3 else pixels.permute(0, 3, 1, 2).contiguous()


def _moments(images: Tensor) -> tuple[float, float]:
    """Returns mean and standard deviation of uint8 pixels, as 0..1.

    They come from the counts of values, and are therefore exact on any device.
    """
    counts = torch.bincount(images.flatten(), minlength=256).cpu().double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts * values).sum() / counts.sum()
    variance = (counts * (values - mean) ** 2).sum() / (counts.sum() - 1).clamp(min=1)
    return float(mean), float(variance.sqrt())


def compute_dtype(device: torch.device) -> torch.dtype:
    """Returns bfloat16 for GPUs that compute it at full rate (from Ampere on), else float32."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return torch.float32


class Inputs:
    """The network's inputs on one device: an epoch of training images, and the validation images.

    An epoch is drawn, augmented, mixed and normalised at once; a step only slices it. This costs a
    tenth of doing it batch by batch, where each of some fifty small kernels would pay its launch in
    every step. With Triton, one kernel does it (see `kernels.augment_images`). All networks of a
    lane that train on the same images share one `Inputs`. Those of all lanes share `data`, which
    holds the validation part too.

    Attributes:
        data: the images as they are.
        spec: what the network sees: whole images, or crops of them.
        images: `dtype` [N, S, S, C]; first, second: int64 [N], places in `data` of what an image
            shows; share: float32 [N] (see `augment.Mixed`).
        held: `dtype` [V, S, S, C], normalised; the middle of each image if the network sees crops.

    Args:
        crop: side of the crops, or 0 for whole images.
    """

    def __init__(self, data: DeviceData, crop: int = 0) -> None:
        self.data = data
        self.spec = replace(data.spec, side=crop or data.spec.side)
        self.dtype = dtype = data.dtype
        count, *_ = data.images.shape
        side, channels = self.spec.side, self.spec.channels
        self.images = torch.zeros(count, side, side, channels, dtype=dtype, device=data.images.device)
        self.first = torch.zeros_like(data.labels)
        self.second = torch.zeros_like(data.labels)
        self.share = torch.ones(count, device=data.labels.device)
        self.held = middle(data.held, side)

    def draw_epoch(self, config: TrainConfig, class_weights: Tensor) -> None:
        """Fills the training part with the next epoch, from torch's default generator.

        Args:
            class_weights: float64 [classes], how often each class is drawn relative to its
                frequency.
        """
        order = epoch_order(self.data.labels, class_weights)
        if config.views > 1:
            order = several_views(order, config.views, config.batch_size)
        spec = self.data.spec
        chunk = max(1, CHUNK[order.device.type] * FER2013.side**2 // (spec.side**2 * spec.channels))
        write = self._write_fused if self._has_kernel(order) else self._write
        write = write if self.spec == spec else self._write_crops
        for start in range(0, len(order), chunk):
            chosen = order[start : start + chunk]
            part = slice(start, start + len(chosen))
            mixed = write(as_input(self.images[part]), chosen, config)
            self.first[part], self.second[part], self.share[part] = mixed.first, mixed.second, mixed.share

    def _write_crops(self, images: Tensor, chosen: Tensor, config: TrainConfig) -> Mixed:
        """Does the same with a random crop of each image. The crops are mixed, not the images."""
        alone = config.model_copy(update={"mixup": 0.0, "cutmix": 0.0})
        whole = torch.empty(
            len(chosen), *self.data.images.shape[2:], images.shape[1], dtype=self.dtype, device=images.device
        )
        (self._write_fused if self._has_kernel(chosen) else self._write)(as_input(whole), chosen, alone)
        mixed = mix(as_input(random_crops(whole, self.spec.side)).float(), chosen, config.mixup, config.cutmix)
        images.copy_(mixed.images)
        return mixed

    def _has_kernel(self, order: Tensor) -> bool:
        """Returns whether the kernel draws the images: small grey ones, on CUDA with Triton."""
        return fused(order) and self.data.spec.channels == 1 and self.data.spec.side**2 <= LARGEST_FUSED

    def _write(self, images: Tensor, chosen: Tensor, config: TrainConfig) -> Mixed:
        """Writes the `chosen`, int64 [n], to `images`, [n, C, S, S], as the epoch shows them."""
        pixels = augment(self.data.images[chosen].float() / 255, config.augment)
        mixed = mix(pixels, chosen, config.mixup, config.cutmix)
        images.copy_(self.data.normalised(mixed.images))
        return mixed

    def _write_fused(self, images: Tensor, chosen: Tensor, config: TrainConfig) -> Mixed:
        """Does the same in one pass over memory."""
        from fer_tune.kernels.augment_images import write_changed

        changes, blend = draw_changes(images, config.augment), draw_blend(images, config.mixup, config.cutmix)
        write_changed(images, self.data.images, chosen, changes, blend, self.data.mean, self.data.std)
        return Mixed(images, chosen, chosen.roll(1, 0), blend.share)


def random_crops(images: Tensor, side: int) -> Tensor:
    """Returns a crop of each image at a random place: [N, side, side, C] of [N, S, S, C]."""
    room, count = images.shape[1] - side + 1, len(images)
    top, left = torch.randint(room, (2, count, 1), device=images.device)
    edge = torch.arange(side, device=images.device)
    each = torch.arange(count, device=images.device)[:, None, None]
    return images[each, (top + edge)[:, :, None], (left + edge)[:, None, :]]


def middle(images: Tensor, side: int) -> Tensor:
    """Returns the middle of each image: [N, side, side, C] of [N, S, S, C]."""
    start = (images.shape[1] - side) // 2
    return images[:, start : start + side, start : start + side].contiguous() if start else images


def as_input(images: Tensor) -> Tensor:
    """Returns [N, C, S, S] of [N, S, S, C]: the same bytes with channels_last strides.

    A grey image has the same bytes in both layouts. Torch looks at the strides, and would compute
    the whole network in the other layout.
    """
    return images.permute(0, 3, 1, 2)
