"""Tests of the forecast of a trial's final objective."""

from __future__ import annotations

import numpy as np
import pytest

from fer_tune.selection.extrapolation import forecast


def test_a_trial_is_forecast_along_the_line_of_those_that_got_further() -> None:
    curves = [{4: value, 40: value + 0.1} for value in (0.30, 0.35, 0.40, 0.45, 0.50)]
    values, variances = forecast([*curves, {4: 0.42}])
    assert values[-1] == pytest.approx(0.52, abs=0.002)
    assert variances[-1] > variances[0]


def test_complete_trials_keep_their_values() -> None:
    values, variances = forecast([{4: 0.3, 40: 0.6}, {40: 0.5}])
    assert list(values) == [0.6, 0.5]
    assert variances[0] == variances[1]


def test_trials_that_did_not_learn_do_not_dominate() -> None:
    values, _ = forecast([{4: value} for value in (0.14, 0.50, 0.52, 0.54, 0.56)])
    assert values.min() > 0.4
    assert list(np.argsort(values)) == [0, 1, 2, 3, 4]
