"""What the images of a data set are, and where a worker finds them. Imports no numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fer_tune.data import fer2013


@dataclass(frozen=True)
class DataSpec:
    """What the images of a data set are.

    Attributes:
        classes: their names. The position of a name is its label.
        side: height and width of an image, in pixels.
        channels: 1 for grey images, 3 for colour.
    """

    classes: tuple[str, ...]
    side: int
    channels: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image as an array, as Pillow has it: [S, S], or [S, S, 3] in colour."""
        return (self.side, self.side) if self.channels == 1 else (self.side, self.side, self.channels)

    def as_dict(self) -> dict[str, Any]:
        """Returns the spec as JSON can hold it."""
        return asdict(self) | {"classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DataSpec:
        """Returns the spec that `as_dict` was called on."""
        return cls(tuple(map(str, values["classes"])), int(values["side"]), int(values["channels"]))


FER2013 = DataSpec(fer2013.EMOTIONS, fer2013.SIDE, 1)
"""The spec of FER2013, and of studies and caches from before a spec was stored with them."""


@dataclass(frozen=True)
class DataRef:
    """Where a worker finds the images of a job. All of it is below the cache folder.

    Attributes:
        cache: folder of one parsed data set.
        signature: hash of its content; checked when the worker opens it.
        split: the stored split file.
        split_hash: hash of the split; checked when the worker opens it.
        spec: what the images are.
    """

    cache: Path
    signature: str
    split: Path
    split_hash: str
    spec: DataSpec = FER2013
