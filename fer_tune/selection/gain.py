"""How much better the best trial is expected to become, if a study goes through more trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtr

from fer_tune.selection.extrapolation import forecast

RECENT = 20
"""The next trials are expected to be like so many of the latest ones."""

GRID = 200
"""Steps of the numerical integration."""


def expected_gain(curves: Sequence[Mapping[int, float]], best: float, trials: int) -> float:
    """Returns how much the best of the next trials is expected to exceed the best value so far.

    The latest trials say what the next ones will be like: each is forecast to the end of its
    schedule, with the uncertainty of the forecast. F is the distribution that these forecasts form.
    The best of n trials exceeds x with the probability 1 - F(x)^n. The gain is the integral of that
    above the best value so far.

    Args:
        curves: of each trial the values that it reached, by level, in the order of the trials.
        best: the best value so far.
        trials: n, how many trials may follow.
    """
    values, variances = forecast(curves)
    values, spread = values[-RECENT:], np.sqrt(variances[-RECENT:])
    top = max(float((values + 4 * spread).max()), best + 1e-6)
    grid = np.linspace(best, top, GRID)
    below = ndtr((grid[:, None] - values) / spread).mean(axis=1)
    above = 1 - below**trials
    return float(np.mean(above[1:] + above[:-1]) / 2 * (top - best))
