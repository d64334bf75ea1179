"""Forecasts the final objective of trials from what they reached so far.

What the trials that reached two levels had there gives a line from the lower to the higher level.
A trial that reached only the lower one is forecast along these lines. The scatter around them says
how certain that is.

What makes a network learn fast often makes it overfit later, such as no augmentation. So with
enough trials, the step from one level to the next also depends on the hyperparameters. Without
this, a search collects configurations that are only good early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_tune.selection import effects

Floats = NDArray[np.float64]

NOISE = 0.004
"""Standard deviation of an objective between two seeds, on a scale of 0 to 1."""

BELIEF = 5.0
"""How many trials the belief counts as that a trial gains the same wherever it is."""

ENOUGH = 24
"""Trials that must have reached two levels before hyperparameters count in the step between them.

On held-out real curves, fewer made the forecasts no better."""

POOR = 3.0
"""Forecasts lower than so many times the upper spread below the median are raised to it.

Some configurations do not learn at all. Without this, a model would explain little else.
"""


@dataclass(frozen=True)
class Configurations:
    """The configurations of some trials as numbers.

    Attributes:
        rows: [N, F] their features; see `study.configurations`.
        groups: [F] the hyperparameter of each feature.
    """

    rows: Floats
    groups: NDArray[np.int64]


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


def step(low: Floats, high: Floats, among: NDArray[np.bool_], of: Configurations | None) -> tuple[Line, Floats]:
    """Returns how values continue from one level to the next: a line, and [N] what each
    configuration gains beside it.

    Args:
        low, high: [N] the values of all trials at both levels.
        among: [N] which trials reached both.
        of: the configurations of all trials; without them nothing is gained beside the line.
    """
    found = line(low[among], high[among])
    if of is None or among.sum() < ENOUGH:
        return found, np.zeros(len(low))
    left = high[among] - found.slope * low[among] - found.intercept
    model = effects.fit(of.rows[among], left, np.ones(len(left)), of.groups)
    gained, _ = model.predict(of.rows)
    scatter = float(np.sqrt(np.mean((left - gained[among]) ** 2) + NOISE**2))
    return Line(found.slope, found.intercept, scatter), gained


def forecast(
    curves: Sequence[Mapping[int, float]], configurations: Configurations | None = None
) -> tuple[Floats, Floats]:
    """Returns for each trial the objective that it is forecast to end with, and its variance.

    Args:
        curves: of each trial the values that it reached, by level; none is empty. The highest level
            of all is the one that is forecast.
        configurations: of the same trials; None forecasts without them.
    """
    levels = sorted({level for curve in curves for level in curve})
    places = {level: place for place, level in enumerate(levels)}
    table = np.full((len(curves), len(levels)), np.nan)
    for row, curve in zip(table, curves, strict=True):
        for level, value in curve.items():
            row[places[level]] = value
    highest = np.array([places[max(curve)] for curve in curves])
    values, variances = table[np.arange(len(curves)), highest], np.full(len(curves), NOISE**2)
    for place in range(len(levels) - 1):
        both = ~np.isnan(table[:, place : place + 2]).any(axis=1)
        along, gained = Line(1.0, 0.0, 5 * NOISE), np.zeros(len(curves))
        if both.any():
            along, gained = step(table[:, place], table[:, place + 1], both, configurations)
        below = highest <= place
        values[below] = along.slope * values[below] + along.intercept + gained[below]
        variances[below] = along.slope**2 * variances[below] + along.scatter**2
    middle, upper = np.quantile(values, (0.5, 0.75))
    return np.maximum(values, middle - POOR * max(float(upper - middle), NOISE)), variances
