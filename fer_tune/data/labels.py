"""What an emotion may be called. A folder's position in the alphabet says nothing about its label."""

from __future__ import annotations

from fer_tune.data.fer2013 import EMOTIONS

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
    """The label that a folder's name stands for, whatever its case; None if it is no emotion."""
    return _LABELS.get(name.strip().lower())


def known_names() -> str:
    """The names that are understood, for a hint."""
    return ", ".join(f"{emotion} ({', '.join(SYNONYMS[emotion].split())})" for emotion in EMOTIONS)
