"""A data set in memory: images, labels, and where each of them came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.data.spec import DataSpec

Images = NDArray[np.uint8]
Indices = NDArray[np.int64]
Usage = NDArray[np.int8]


@dataclass(frozen=True)
class Dataset:
    """A labelled data set.

    Attributes:
        images: uint8 [N, S, S], or [N, S, S, 3] in colour; a read-only memory map if the cache
            holds them.
        labels: int64 [N], positions in `spec.classes`.
        usage: int8 [N], positions in `fer2013.USAGES`; None if the source does not say.
        names: what to call each image in a message: its file's name, or `row 12`.
        signature: SHA-256 (hex) of images, labels, usage and class names; not of names or notes.
        source: the path they were read from, or `demo`.
        spec: class names, side and channels.
        notes: what was converted on the way, one sentence each.
    """

    images: Images
    labels: Indices
    usage: Usage | None
    names: list[str]
    signature: str
    source: str
    spec: DataSpec
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        images: Images,
        labels: Indices,
        usage: Usage | None = None,
        *,
        classes: tuple[str, ...] = EMOTIONS,
        names: list[str] | None = None,
        source: str = "memory",
        notes: tuple[str, ...] = (),
    ) -> Dataset:
        """Returns a data set of these arrays. Images without `names` are called by position."""
        if names is None:
            names = [f"image {index}" for index in range(len(images))]
        spec = DataSpec(classes, images.shape[1], images.shape[3] if images.ndim == 4 else 1)
        return cls(images, labels, usage, names, sign(images, labels, usage, classes), source, spec, notes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> dict[str, int]:
        """Images of each class."""
        return count(self.labels, self.spec.classes)


def count(labels: Indices, classes: tuple[str, ...]) -> dict[str, int]:
    """Returns how many of the labels are of each class, by its name."""
    return dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))


def sign(images: Images, labels: Indices, usage: Usage | None, classes: tuple[str, ...] = EMOTIONS) -> str:
    """Returns the SHA-256 of sizes and arrays, little-endian: the same on every platform.

    FER2013's class names add nothing to it, so that its signature is that of studies from before
    there were others.
    """
    named = "" if classes == EMOTIONS else f" classes {classes}"
    digest = hashlib.sha256(f"faces {images.shape} usage {usage is not None}{named}".encode())
    digest.update(np.ascontiguousarray(images, np.uint8).data)
    digest.update(np.ascontiguousarray(labels, "<i8").data)
    if usage is not None:
        digest.update(np.ascontiguousarray(usage, np.int8).data)
    return digest.hexdigest()
