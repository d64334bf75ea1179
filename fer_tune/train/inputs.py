"""The faces of a trial in device memory, and an epoch of them made ready at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fer_tune.data.access import SearchData
from fer_tune.models.layers import fused
from fer_tune.train.augment import Mixed, augment, draw_blend, draw_changes, mix
from fer_tune.train.config import TrainConfig
from fer_tune.train.sampling import epoch_order

CHUNK = {"cuda": 32768, "cpu": 1024}
"""Images augmented at once: a GPU wants few launches (without Triton some 2 GB of intermediates), a CPU its caches."""


@dataclass(frozen=True)
class DeviceData:
    """What is fitted and what is evaluated, on one device.

    Attributes:
        images, labels: uint8 [N, 1, 48, 48] and int64 [N], to fit.
        held_images, held_labels: the same of the validation part; empty in a final fit.
        mean, std: of the fitted pixels in 0..1; inputs are normalised with them.
    """

    images: Tensor
    labels: Tensor
    held_images: Tensor
    held_labels: Tensor
    mean: float
    std: float

    @classmethod
    def load(cls, data: SearchData, fit: str, device: torch.device) -> DeviceData:
        """Copies the parts that `fit` (see `Job.fit`) names to `device`."""
        fitted, held = data.train, data.val
        if fit == "train+val":
            fitted, held = torch.cat((torch.from_numpy(fitted), torch.from_numpy(held))).numpy(), held[:0]
        images = torch.from_numpy(data.images[fitted]).unsqueeze(1).to(device)
        mean, std = _moments(images)
        return cls(
            images=images,
            labels=torch.from_numpy(data.labels[fitted]).to(device),
            held_images=torch.from_numpy(data.images[held]).unsqueeze(1).to(device),
            held_labels=torch.from_numpy(data.labels[held]).to(device),
            mean=mean,
            std=max(std, 1e-3),
        )

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 or 0..1 float to zero mean and unit deviation, float32."""
        pixels = images.float() / 255 if images.dtype == torch.uint8 else images
        return (pixels - self.mean) / self.std


def _moments(images: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of uint8 pixels in 0..1, from how often each value occurs: exact on any device."""
    counts = torch.bincount(images.flatten(), minlength=256).cpu().double()
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = (counts * values).sum() / counts.sum()
    variance = (counts * (values - mean) ** 2).sum() / (counts.sum() - 1).clamp(min=1)
    return float(mean), float(variance.sqrt())


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes with it at full rate (from Ampere on), else float32."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return torch.float32


class Inputs:
    """The network's inputs on one device: an epoch of training images, and the validation images.

    An epoch is drawn, augmented, mixed and normalised once and then only sliced by the step. Doing this for
    thousands of images at a time costs a tenth of doing it batch by batch, where each of some fifty small kernels
    would pay its launch in every step. Where there is Triton, one kernel does it (see `kernels.augment_images`). All
    networks that train on the same faces share one `Inputs`.

    Attributes:
        images: `dtype` [N, 1, 48, 48]; first, second: int64 [N], places in `faces` of what an image shows; share:
            float32 [N] (see `augment.Mixed`).
        held: `dtype` [V, 1, 48, 48], normalised.
    """

    def __init__(self, faces: DeviceData, dtype: torch.dtype) -> None:
        self.faces = faces
        self.dtype = dtype
        self.images = torch.zeros(faces.images.shape, dtype=dtype, device=faces.images.device)
        self.first = torch.zeros_like(faces.labels)
        self.second = torch.zeros_like(faces.labels)
        self.share = torch.ones(len(faces.labels), device=faces.labels.device)
        self.held = faces.normalised(faces.held_images).to(dtype)

    def draw_epoch(self, config: TrainConfig, class_weights: Tensor) -> None:
        """Fills the training part with the next epoch, from torch's default generator.

        Args:
            class_weights: float64 [classes], how often each class is drawn relative to its frequency.
        """
        order = epoch_order(self.faces.labels, class_weights)
        chunk = CHUNK[order.device.type]
        write = self._write_fused if fused(order) else self._write
        for start in range(0, len(order), chunk):
            chosen = order[start : start + chunk]
            part = slice(start, start + len(chosen))
            mixed = write(self.images[part], chosen, config)
            self.first[part], self.second[part], self.share[part] = mixed.first, mixed.second, mixed.share

    def _write(self, images: Tensor, chosen: Tensor, config: TrainConfig) -> Mixed:
        """Writes the `chosen` faces, int64 [N], to `images` as the epoch shows them, by torch's operations."""
        faces = augment(self.faces.images[chosen].float() / 255, config.augment)
        mixed = mix(faces, chosen, config.mixup, config.cutmix)
        images.copy_(self.faces.normalised(mixed.images))
        return mixed

    def _write_fused(self, images: Tensor, chosen: Tensor, config: TrainConfig) -> Mixed:
        """The same in one pass over memory."""
        from fer_tune.kernels.augment_images import write_changed

        changes, blend = draw_changes(images, config.augment), draw_blend(images, config.mixup, config.cutmix)
        write_changed(images, self.faces.images, chosen, changes, blend, self.faces.mean, self.faces.std)
        return Mixed(images, chosen, chosen.roll(1, 0), blend.share)


def as_input(images: Tensor) -> Tensor:
    """[N, 1, 48, 48] with channels_last strides: of one channel both layouts are the same bytes, and torch would
    otherwise take it for the other one and compute the whole network in it."""
    count, _, height, width = images.shape
    return images.view(count, height, width, 1).permute(0, 3, 1, 2)
