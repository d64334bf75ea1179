"""Tests of the benchmark that plans searches which are played."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.search.plans import Played, database, line, summary
from fer_tune.selection.cost import ForecastRange
from tests.benchmarks.simulated import simulator, small


def test_the_first_search_is_planned_from_a_probe_and_the_others_from_those_before() -> None:
    sweep = replace(small(), budget=small().budget.model_copy(update={"trials": 10, "hours": None}))
    played = database(sweep, simulator(), searches=3, place=0)
    (again,) = database(sweep, simulator(), searches=1, place=0)
    assert again == played[0]
    assert [one.probed for one in played] == [True, False, False]
    assert len({one.took for one in played}) == 3, "each search has its own seed"
    for one in played:
        assert one.error == pytest.approx(one.took / one.expected.middle - 1, abs=1e-3)
        assert abs(one.error) < 0.6


def test_a_summary_tells_plans_from_a_probe_from_others() -> None:
    expected = ForecastRange(80.0, 100.0, 120.0)
    first, right, wrong = Played(90.0, expected, probed=True), Played(110.0, expected), Played(140.0, expected)
    found = summary([[first, right], [first, wrong]])
    assert found["recorded"] == {"plans": 2, "within": 1, "in_range": 1, "mean_error": 0.25}
    assert found["probed"] == {"plans": 2, "within": 2, "in_range": 2, "mean_error": -0.1}
    assert (found["cheapest"], found["mean"], found["dearest"]) == (90.0, 107.5, 140.0)
    text = line("deep_cnn:60", found)
    assert "1 of 2 plans from earlier trials within 15%" in text
    assert "2 of 2 plans from a probe within 15%" in text
