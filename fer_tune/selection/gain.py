"""How much better the best trial is expected to become, if a study goes through more trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fer_tune.selection.extrapolation import forecast

RECENT = 20
"""The next trials are expected to be like so many of the latest ones."""

WIDEST = 7.0
"""The integration ends so many standard deviations above the median."""

GRID = 400
"""Steps of the numerical integration."""


def expected_gain(curves: Sequence[Mapping[int, float]], best: float, trials: int) -> float:
    """Returns how much the best of the next trials is expected to exceed the best value so far.

    The latest trials say what the next ones will be like. Each is forecast to the end of its
    schedule. F is a normal distribution around the median of these forecasts, as wide as their
    upper half and their uncertainty. The best of n trials exceeds x with the probability
    1 - F(x)^n. The gain is the integral of that above the best value so far.

    Args:
        curves: of each trial the values that it reached, by level, in the order of the trials.
        best: the best value so far.
        trials: n, how many trials may follow.
    """
    from scipy.special import ndtr

    values, variances = forecast(curves)
    values, variances = values[-RECENT:], variances[-RECENT:]
    middle = float(np.median(values))
    spread = float(np.sqrt(np.mean((values[values >= middle] - middle) ** 2) + np.mean(variances)))
    top = max(middle + WIDEST * spread, best + 1e-6)
    grid = np.linspace(best, top, GRID)
    above = 1 - ndtr((grid - middle) / spread) ** trials
    return float(np.mean(above[1:] + above[:-1]) / 2 * (top - best))
