"""Tests of the forecast of what a search will cost."""

from __future__ import annotations

import math

import pytest

from fer_tune.selection.cost import Shape, TrialPace, forecast


def test_without_rungs_the_cost_is_trials_times_epochs() -> None:
    found = forecast(Shape(10, (), 3, 20), TrialPace((0.5,), overhead=1.0))
    assert found.device_seconds.middle == pytest.approx(20 * (10 * 0.5 + 1))
    assert (found.started.middle, found.reached[10].middle) == (20, 20)


def test_rungs_let_a_third_of_the_trials_continue() -> None:
    found = forecast(Shape(27, (3, 9), 3, 90), TrialPace((1.0,)))
    assert found.reached[3].middle == 90
    assert found.reached[9].middle == 30
    assert found.reached[27].middle == 10
    assert found.device_seconds.middle == pytest.approx(90 * 3 + 30 * 6 + 10 * 18)


def test_a_study_of_few_trials_completes_one() -> None:
    assert forecast(Shape(27, (3, 9), 3, 2), TrialPace((1.0,))).reached[27].middle == 1


def test_the_capacity_limits_the_trials() -> None:
    found = forecast(Shape(10, (), 3, 1000, capacity=95.0), TrialPace((1.0,)))
    assert found.started.middle == 9
    assert found.device_seconds.high == 95


@pytest.mark.parametrize(("trials", "capacity"), [(0, math.inf), (5, 0.0)])
def test_a_study_that_has_used_its_budget_costs_nothing_more(trials: int, capacity: float) -> None:
    found = forecast(Shape(27, (3, 9), 3, trials, capacity), TrialPace((1.0,)))
    assert (found.device_seconds.high, found.started.high, found.reached[27].high) == (0, 0, 0)


def test_the_range_is_wide_if_trials_differ() -> None:
    even = forecast(Shape(10, (), 3, 20), TrialPace((1.0, 1.0, 1.0))).device_seconds
    uneven = forecast(Shape(10, (), 3, 20), TrialPace((0.1, 1.0, 3.0))).device_seconds
    assert even.low == even.high
    assert uneven.high > 1.5 * uneven.low


def test_a_pruner_shortens_trials_as_it_did_before() -> None:
    found = forecast(Shape(10, (), 3, 200), TrialPace((1.0,), lengths=(0.2, 1.0)))
    assert found.device_seconds.middle == pytest.approx(200 * 6, rel=0.1)
