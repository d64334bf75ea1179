"""Facts about FER2013: its class names in the order of its labels."""

from __future__ import annotations

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Class names. The position of a name is its label in FER2013's CSV files."""

SIDE = 48
"""Height and width of an image."""
