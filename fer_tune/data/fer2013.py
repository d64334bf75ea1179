"""Facts about FER2013. They are used for FER2013 only; other data sets bring class names of their own."""

from __future__ import annotations

from collections.abc import Sequence

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Class names. The position of a name is its label in FER2013's CSV files."""

SIDE = 48
"""Height and width of an image."""

USAGES = ("Training", "PublicTest", "PrivateTest")
"""The parts of the competition. The position of a part is its code in `Dataset.usage`."""

COUNTS = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}
"""Images of each class in each part."""

SYNONYMS = {
    "angry": "anger",
    "disgust": "disgusted",
    "fear": "afraid fearful",
    "happy": "happiness joy",
    "sad": "sadness",
    "surprise": "surprised",
    "neutral": "neutrality calm",
}
"""Other names that data sets give to the seven emotions."""

_LABELS = {word: label for label, emotion in enumerate(EMOTIONS) for word in (emotion, *SYNONYMS[emotion].split())}


def label_of(name: str) -> int | None:
    """Returns the label of an emotion, whatever the case of its name; None for any other word."""
    return _LABELS.get(name.strip().lower())


def known_names() -> str:
    """Returns all names of the seven emotions, for a hint."""
    return ", ".join(f"{emotion} ({', '.join(SYNONYMS[emotion].split())})" for emotion in EMOTIONS)


def is_fer2013(counts: Sequence[int]) -> bool:
    """Returns whether a data set with so many images of each class is FER2013: its training images, or all."""
    whole = tuple(map(sum, zip(*COUNTS.values(), strict=True)))
    return tuple(counts) in {COUNTS["Training"], whole}
