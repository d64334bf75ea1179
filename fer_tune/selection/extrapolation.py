"""Forecasts the final objective of trials from what they reached so far.

What the trials that reached two levels had there gives a line from the lower to the higher level.
A trial that reached only the lower one is forecast along these lines. The scatter around them says
how certain that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOISE = 0.004
"""Standard deviation of an objective between two seeds, on a scale of 0 to 1."""

BELIEF = 5.0
"""How many trials the belief counts as that a trial gains the same wherever it is."""

POOR = 3.0
"""Forecasts lower than so many times the upper spread below the median are raised to it.

Some configurations do not learn at all. Without this, a model would explain little else.
"""


@dataclass(frozen=True)
class Line:
    """How values at a lower level continue at a higher one."""

    slope: float
    intercept: float
    scatter: float


def line(low: Floats, high: Floats) -> Line:
    """Returns the line from the values of trials at one level to theirs at the next."""
    slope = 1.0
    if len(low) > 2 and low.std() > 1e-6:
        slope = float(np.cov(low, high)[0, 1] / low.var(ddof=1))
        slope = float(np.clip((slope * len(low) + BELIEF) / (len(low) + BELIEF), 0.3, 1.5))
    intercept = float(high.mean() - slope * low.mean())
    scatter = float(np.sqrt(np.mean((high - slope * low - intercept) ** 2) + NOISE**2))
    return Line(slope, intercept, scatter)


def forecast(curves: Sequence[Mapping[int, float]]) -> tuple[Floats, Floats]:
    """Returns for each trial the objective that it is forecast to end with, and its variance.

    Args:
        curves: of each trial the values that it reached, by level; none is empty. The highest level
            of all is the one that is forecast.
    """
    levels = sorted({level for curve in curves for level in curve})
    lines: dict[int, Line] = {}
    for low, high in pairwise(levels):
        both = [(curve[low], curve[high]) for curve in curves if low in curve and high in curve]
        lines[low] = line(*np.array(both).T) if both else Line(1.0, 0.0, 5 * NOISE)
    values, variances = np.empty(len(curves)), np.empty(len(curves))
    for place, curve in enumerate(curves):
        at = max(curve)
        value, variance = curve[at], NOISE**2
        for level in levels[levels.index(at) : -1]:
            step = lines[level]
            value, variance = step.slope * value + step.intercept, step.slope**2 * variance + step.scatter**2
        values[place], variances[place] = value, variance
    middle, upper = np.quantile(values, (0.5, 0.75))
    return np.maximum(values, middle - POOR * max(float(upper - middle), NOISE)), variances
