"""The faces that a retrained model mistook most confidently, as a retrain's predictions and the cache have them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from fer_tune.data import cache
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.data.spec import DataRef
from fer_tune.errors import DataError

SHOWN = 16
"""Mistakes that a report shows."""


@dataclass(frozen=True)
class Mistake:
    """A test face and what it was taken for.

    Attributes:
        true, predicted: names of classes.
        confidence, chance: the probability that the model gave to `predicted` and to `true`.
        picture: the face as a `data:` address of a PNG file.
    """

    true: str
    predicted: str
    confidence: float
    chance: float
    picture: str


def worst(predictions: Path, data: DataRef) -> list[Mistake]:
    """The most confident mistakes, the worst first; none where the file or the faces are gone."""
    try:
        with np.load(predictions, allow_pickle=False) as file:
            index, label, plain = file["index"], file["label"], file["plain"]
        images = cache.read(data.cache, data.signature).images
    except (OSError, ValueError, KeyError, DataError):
        return []
    taken = plain.argmax(1)
    confidence = np.where(taken == label, 0.0, plain.max(1))
    order = [place for place in np.argsort(-confidence, kind="stable")[:SHOWN].tolist() if confidence[place] > 0]
    return [
        Mistake(
            true=EMOTIONS[label[place]],
            predicted=EMOTIONS[taken[place]],
            confidence=float(confidence[place]),
            chance=float(plain[place, label[place]]),
            picture=_png(images[index[place]]),
        )
        for place in order
        if 0 <= index[place] < len(images)
    ]


def _png(face: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> str:
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(np.asarray(face)).save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
