"""Tests of the benchmark that plans searches which are played."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.search.plans import Played, database, line, summary
from fer_tune.selection.cost import ForecastRange
from tests.benchmarks.simulated import simulator, small


def test_searches_are_planned_from_those_before() -> None:
    sweep = replace(small(), budget=small().budget.model_copy(update={"trials": 10, "hours": None}))
    first, *others = database(sweep, simulator(), searches=3, place=0)
    (again, *_) = database(sweep, simulator(), searches=1, place=0)
    assert first == again == Played(first.took), "nothing ran before it"
    assert len({one.took for one in (first, *others)}) == 3, "each search has its own seed"
    for one in others:
        assert one.expected is not None
        assert one.error == pytest.approx(one.took / one.expected.middle - 1, abs=1e-3)
        assert abs(one.error) < 0.6


def test_a_summary_counts_plans_and_not_first_searches() -> None:
    first, right = Played(100.0), Played(110.0, ForecastRange(80.0, 100.0, 120.0))
    wrong = Played(140.0, ForecastRange(80.0, 100.0, 120.0))
    found = summary([[first, right], [first, wrong]])
    assert (found["plans"], found["within"], found["in_range"]) == (2, 1, 1)
    assert found["mean_error"] == 0.25
    assert (found["cheapest"], found["mean"], found["dearest"]) == (100.0, 112.5, 140.0)
    assert "1 of 2 plans within 15%" in line("deep_cnn:60", found)
