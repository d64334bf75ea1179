"""Tests of the gain that further trials are expected to bring."""

from __future__ import annotations

import numpy as np
import pytest

from fer_tune.selection.gain import RECENT, expected_gain


def curves(*values: float) -> list[dict[int, float]]:
    return [{40: value} for value in values]


def test_trials_that_scatter_around_the_best_value_promise_more_than_those_below_it() -> None:
    random = np.random.default_rng(0)
    high = expected_gain(curves(*random.normal(0.60, 0.01, 30)), 0.61, 10)
    low = expected_gain(curves(*random.normal(0.50, 0.01, 30)), 0.61, 10)
    assert high > 0.002
    assert low < 1e-6


def test_more_trials_promise_more() -> None:
    some = curves(*np.random.default_rng(1).normal(0.60, 0.01, 30))
    assert expected_gain(some, 0.61, 50) > expected_gain(some, 0.61, 5) > 0


def test_it_is_what_a_simulation_gives() -> None:
    random = np.random.default_rng(2)
    values = 0.6 + random.normal(0, 0.02, RECENT)
    upper = values[values >= np.median(values)] - np.median(values)
    spread = np.sqrt(np.mean(upper**2) + 0.004**2)
    drawn = random.normal(np.median(values), spread, (40_000, 8))
    simulated = np.maximum(drawn.max(1) - 0.63, 0).mean()
    assert expected_gain(curves(*values), 0.63, 8) == pytest.approx(simulated, rel=0.05)


def test_only_the_latest_trials_count() -> None:
    early = curves(*[0.65] * 30)
    late = curves(*[0.50] * RECENT)
    assert expected_gain([*early, *late], 0.66, 10) < 1e-6
