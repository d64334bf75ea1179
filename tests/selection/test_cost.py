"""Tests of the forecast of what a search will cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest

from fer_tune.selection.cost import MeasuredTrial, PlayedTrial, Shape, TrialPace, forecast


def paced(*seconds: float, overhead: float = 0.0, lengths: tuple[float, ...] = (math.nan,)) -> TrialPace:
    """Returns the pace of trials with these seconds an epoch."""
    return TrialPace(tuple(MeasuredTrial(one, length) for one in seconds for length in lengths), overhead)


def test_the_start_of_a_run_takes_time_too() -> None:
    found = forecast(Shape(10, (), 3, 20, start=4.0), paced(0.5))
    assert found.device_seconds.middle == pytest.approx(20 * 5.0 + 4.0)
    limited = forecast(Shape(10, (), 3, 1000, capacity=54.0, start=4.0), paced(0.5))
    assert (limited.device_seconds.middle, limited.started.middle) == (54.0, 10)
    assert forecast(Shape(10, (), 3, 1000, capacity=3.0, start=4.0), paced(0.5)).device_seconds.middle == 3.0


def test_without_rungs_the_cost_is_trials_times_epochs() -> None:
    found = forecast(Shape(10, (), 3, 20), paced(0.5, overhead=1.0))
    assert found.device_seconds.middle == pytest.approx(20 * (10 * 0.5 + 1))
    assert (found.started.middle, found.reached[10].middle) == (20, 20)


def test_rungs_let_a_third_of_the_trials_continue() -> None:
    found = forecast(Shape(27, (3, 9), 3, 90), paced(1.0))
    assert found.reached[3].middle == 90
    assert found.reached[9].middle == 30
    assert found.reached[27].middle == 10
    assert found.device_seconds.middle == pytest.approx(90 * 3 + 30 * 6 + 10 * 18)


def test_a_study_of_few_trials_completes_one() -> None:
    assert forecast(Shape(27, (3, 9), 3, 2), paced(1.0)).reached[27].middle == 1


def test_the_capacity_limits_the_trials() -> None:
    found = forecast(Shape(10, (), 3, 1000, capacity=95.0), paced(1.0))
    assert found.started.middle == 10  # the last one is cut off
    assert found.reached[10].middle == 9
    assert found.device_seconds.high == 95


@pytest.mark.parametrize(("trials", "capacity"), [(0, math.inf), (5, 0.0)])
def test_a_study_that_has_used_its_budget_costs_nothing_more(trials: int, capacity: float) -> None:
    found = forecast(Shape(27, (3, 9), 3, trials, capacity), paced(1.0))
    assert (found.device_seconds.high, found.started.high, found.reached[27].high) == (0, 0, 0)


def test_the_range_is_wide_if_trials_differ() -> None:
    even = forecast(Shape(10, (), 3, 20), paced(1.0, 1.0, 1.0)).device_seconds
    uneven = forecast(Shape(10, (), 3, 20), paced(0.1, 1.0, 3.0)).device_seconds
    assert even.low == even.high
    assert uneven.high > 1.5 * uneven.low


def test_a_pruner_shortens_trials_as_it_did_before() -> None:
    found = forecast(Shape(10, (), 3, 200), paced(1.0, lengths=(0.2, 1.0)))
    assert found.device_seconds.middle == pytest.approx(200 * 6, rel=0.1)
    assert found.started.middle == 200
    assert found.reached[10].middle == pytest.approx(100, rel=0.2), "half of them are of whole length"


def test_the_last_part_of_a_limited_time_is_for_trials_that_can_be_completed() -> None:
    limited = forecast(Shape(27, (3, 9), 3, 1000, capacity=100.0), paced(1.0))
    free = forecast(Shape(27, (3, 9), 3, 16), paced(1.0))
    assert free.device_seconds.middle == pytest.approx(100, rel=0.1)  # about the same time
    assert (limited.reached[27].middle, free.reached[27].middle) == (2, 1)
    assert limited.started.middle < free.started.middle


def test_slots_that_share_a_device_complete_as_many_epochs_in_all() -> None:
    one, four = (forecast(Shape(10, (), 3, 40, slots=slots), paced(0.5)).device_seconds for slots in (1, 4))
    assert one.middle == four.middle == pytest.approx(40 * 10 * 0.5)
    limited = forecast(Shape(10, (), 3, 1000, capacity=95.0, slots=4), paced(1.0))
    assert (limited.started.middle, limited.reached[10].middle) == (12, 8)  # each slot has 9.5 of its own


def test_an_epoch_costs_more_where_fewer_lanes_overlap() -> None:
    whole = 10 * 0.5
    full = forecast(Shape(10, (), 3, 16, slots=8, overlap=0.3), paced(0.5))
    assert full.device_seconds.middle == pytest.approx(16 * whole)
    one_left = forecast(Shape(10, (), 3, 17, slots=8, overlap=0.3), paced(0.5))
    assert one_left.device_seconds.middle == pytest.approx(16 * whole + 8**0.3 * whole)
    two_left = forecast(Shape(10, (), 3, 18, slots=16, devices=2, overlap=0.3), paced(0.5))
    assert two_left.device_seconds.middle == pytest.approx(16 * whole + 2 * 8**0.3 * whole), "one on each device"


def test_wall_time_passes_for_all_devices_while_one_trains() -> None:
    lone = forecast(Shape(10, (), 3, 1, slots=2, devices=2), paced(0.5))
    assert (lone.device_seconds.middle, lone.wall_seconds.middle) == (5.0, 5.0)
    three = forecast(Shape(10, (), 3, 3, slots=2, devices=2), paced(0.5))
    assert (three.device_seconds.middle, three.wall_seconds.middle) == (15.0, 10.0)
    four = forecast(Shape(10, (), 3, 4, slots=2, devices=2, start=4.0), paced(0.5))
    assert (four.device_seconds.middle, four.wall_seconds.middle) == (24.0, 12.0)
    limited = forecast(Shape(10, (), 3, 100, capacity=30.0, slots=2, devices=2), paced(0.5))
    assert limited.wall_seconds.middle == 15.0


def test_a_device_without_a_trial_costs_nothing_and_its_time_passes() -> None:
    found = forecast(Shape(10, (), 3, 3, slots=2, devices=2), paced(0.5))
    assert found.device_seconds.middle == pytest.approx(3 * 5.0)
    limited = forecast(Shape(10, (), 3, 3, capacity=15.0, slots=2, devices=2), paced(0.5))
    assert limited.device_seconds.middle == pytest.approx(2 * 5.0 + 2.5), "the third has half of its time"


def test_the_range_is_wide_if_the_speed_of_the_machine_drifts() -> None:
    found = forecast(Shape(10, (), 3, 20, drift=0.1), paced(1.0)).device_seconds
    assert found.middle == pytest.approx(200, rel=0.05)
    assert found.high / found.low == pytest.approx(math.exp(2 * 1.28 * 0.1), rel=0.15)


class Steadily:
    """Trials of a pace that grows, of which the first is not paused."""

    def __init__(self) -> None:
        self.curves: list[dict[int, float]] = []

    def next(self, curves: Sequence[Mapping[int, float]]) -> PlayedTrial:
        self.curves = [dict(curve) for curve in curves]
        return PlayedTrial(worth=-float(len(curves)), seconds=1.0 + len(curves), whole=not curves)


def test_trials_are_drawn_knowing_what_the_others_reached() -> None:
    source = Steadily()
    found = forecast(Shape(9, (3,), 3, 2), paced(1.0), lambda random: source)
    assert found.device_seconds.middle == 9 * 1.0 + 3 * 2.0
    assert found.reached[9].middle == 1
    assert set(source.curves[0]) == {3, 9}


class Better:
    """Trials of which each is better than all before it."""

    def next(self, curves: Sequence[Mapping[int, float]]) -> PlayedTrial:
        return PlayedTrial(worth=100.0 * len(curves), seconds=1.0)


def test_a_play_promotes_by_the_rule_of_the_search() -> None:
    """All trials are among the best when they pause, and one in three continues all the same. The
    last one continues too, because it leads its rung at the end."""
    found = forecast(Shape(27, (3, 9), 3, 91), paced(1.0), lambda random: Better())
    assert [found.reached[epoch].middle for epoch in (3, 9, 27)] == [91, 31, 11]


def test_a_play_ends_with_what_fits_into_the_time_that_is_left() -> None:
    """After 13 trials 30 s are left: too few for a new one, and enough for the rest of the best."""
    found = forecast(Shape(27, (3,), 20, 1000, capacity=69.0), paced(1.0))
    assert (found.started.middle, found.reached[27].middle) == (13 + 2, 1)  # two more begin after it
