"""What the images of a data set are, and where a worker finds them. Plain data, without numpy or torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataSpec:
    """What the images of a data set are.

    Attributes:
        classes: their names. The position of a name is its label.
        side: height and width of an image, in pixels.
        channels: 1 for grey images, 3 for colour.
    """

    classes: tuple[str, ...]
    side: int = 48
    channels: int = 1


@dataclass(frozen=True)
class DataRef:
    """Where a worker finds the faces of a trial, all of it below the cache folder.

    Attributes:
        cache: folder of one parsed data set.
        signature: hash of its content; checked when the worker opens it.
        split: the stored split file.
        split_hash: hash of the split; checked when the worker opens it.
    """

    cache: Path
    signature: str
    split: Path
    split_hash: str
