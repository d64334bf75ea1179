"""Shapes and shades on a stack of pictures.

Coordinates: x to the right, y downwards, the picture from -1 to 1.
"""

from __future__ import annotations

import numpy as np

from fer_tune.data.demo.actions import Array
from fer_tune.data.fer2013 import SIDE


class Canvas:
    """A stack of pictures, float32 [n, 48, 48] in 0..1, painted from back to front."""

    def __init__(self, picture: Array) -> None:
        self.picture = picture

    def paint(self, mask: Array, tone: Array | float) -> None:
        """Covers the part in `mask` (0..1) with `tone`."""
        self.picture += np.clip(mask, 0, 1) * (tone - self.picture)

    def shade(self, mask: Array, factor: Array | float) -> None:
        """Multiplies the part in `mask` (0..1) by `factor`: shadows, folds, lips."""
        self.picture *= 1 + np.clip(mask, 0, 1) * (factor - 1)


SOFT = 2.2 / SIDE
"""Width of an edge: about a pixel, so that shapes are smooth."""


def inside(distance: Array, soft: float = SOFT) -> Array:
    """Returns a mask from a signed distance that is positive inside."""
    return np.asarray(np.clip(0.5 + distance / soft, 0, 1))


def line(distance: Array, width: Array | float) -> Array:
    """Returns a soft line along distance 0: exp(-q) for q = (distance / width)², as (1 - q/4)⁴."""
    return np.asarray(np.square(np.square(np.maximum(1 - np.square(distance * (0.5 / width)), 0))))


def away(x: Array, y: Array) -> Array:
    """Returns the distance from the origin."""
    return np.asarray(np.sqrt(x * x + y * y))


def waves(phase: Array) -> Array:
    """Returns ripples between 0 and 1, one for each unit of phase."""
    part = phase - np.floor(phase)
    return np.asarray(4 * part * (1 - part))
