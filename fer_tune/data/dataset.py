"""A data set in memory: images, labels, and where each came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_tune.data.fer2013 import EMOTIONS

SIDE = 48
"""Pixels along one side of a face."""

USAGES = ("Training", "PublicTest", "PrivateTest")
"""The competition's parts; the position is the code in `Dataset.usage`."""

Images = NDArray[np.uint8]
Indices = NDArray[np.int64]
Usage = NDArray[np.int8]


@dataclass(frozen=True)
class Dataset:
    """A labelled data set.

    Attributes:
        images: uint8 [N, 48, 48], grey; a read-only memory map where the cache holds them.
        labels: int64 [N], positions in `EMOTIONS`.
        usage: int8 [N], positions in `USAGES`; None where the source does not say.
        names: what to call each image in a message: its file's name, or `row 12`.
        signature: SHA-256 (hex) of images, labels and usage; not of names or notes.
        source: the path they were read from, or `demo`.
        notes: what was converted on the way, one sentence each.
    """

    images: Images
    labels: Indices
    usage: Usage | None
    names: list[str]
    signature: str
    source: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        images: Images,
        labels: Indices,
        usage: Usage | None = None,
        *,
        names: list[str] | None = None,
        source: str = "memory",
        notes: tuple[str, ...] = (),
    ) -> Dataset:
        """Signs the arrays and puts them together; without `names` images are called by position."""
        if names is None:
            names = [f"image {index}" for index in range(len(images))]
        return cls(images, labels, usage, names, sign(images, labels, usage), source, notes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> dict[str, int]:
        """Images of each emotion."""
        return dict(zip(EMOTIONS, np.bincount(self.labels, minlength=len(EMOTIONS)).tolist(), strict=True))


def sign(images: Images, labels: Indices, usage: Usage | None) -> str:
    """SHA-256 of the content, the same on every platform: sizes first, then the arrays, little-endian."""
    digest = hashlib.sha256(f"faces {images.shape} usage {usage is not None}".encode())
    digest.update(np.ascontiguousarray(images, np.uint8).data)
    digest.update(np.ascontiguousarray(labels, "<i8").data)
    if usage is not None:
        digest.update(np.ascontiguousarray(usage, np.int8).data)
    return digest.hexdigest()
