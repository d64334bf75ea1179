"""Tests of the forecast of a trial's final objective."""

from __future__ import annotations

import numpy as np
import pytest

from fer_tune.selection.extrapolation import ENOUGH, Configurations, forecast


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


def test_a_configuration_that_gains_late_is_forecast_higher_than_one_that_is_only_good_early() -> None:
    random = np.random.default_rng(0)
    rows = random.uniform(-1, 1, size=(60, 4))
    early = 0.5 - 0.03 * rows[:, 0] + random.normal(0, 0.005, 60)  # with less augmentation it is better at first
    late = early + 0.1 + 0.06 * rows[:, 0]
    configurations = Configurations(rows, np.arange(4))
    curves = [
        {4: low, 40: high} if place < 40 else {4: low}
        for place, (low, high) in enumerate(zip(early, late, strict=True))
    ]
    values, variances = forecast(curves, configurations)
    plain, wide = forecast(curves)
    augmented = rows[40:, 0] > 0
    assert values[40:] == pytest.approx(late[40:], abs=0.015)
    assert values[40:][augmented].mean() > values[40:][~augmented].mean() + 0.02
    assert plain[40:][augmented].mean() < values[40:][augmented].mean()
    assert variances[-1] < wide[-1]


def test_with_few_trials_configurations_do_not_count() -> None:
    curves = [{4: 0.3 + place / 100, 40: 0.5 + place / 50} for place in range(ENOUGH - 1)] + [{4: 0.4}]
    configurations = Configurations(np.eye(ENOUGH), np.arange(ENOUGH))
    assert forecast(curves, configurations)[0] == pytest.approx(forecast(curves)[0])
