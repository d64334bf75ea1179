"""Tests of what a plan and its comparison say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fer_tune.display.plan import PlanView, comparison, lines_of
from fer_tune.selection.cost import Forecast, ForecastRange, MeasuredTrial, TrialPace
from fer_tune.sources.plan import SweepPlan


def exactly(value: float) -> ForecastRange:
    return ForecastRange(value, value, value)


def plan_of(started: ForecastRange, reached: ForecastRange, seconds: ForecastRange) -> SweepPlan:
    return SweepPlan(
        study="s",
        devices=("cpu",),
        pace=TrialPace((MeasuredTrial(1.5),), source="3 earlier trials"),
        forecast=Forecast(seconds, seconds, started, {6: reached}),
        seconds=seconds,
    )


@pytest.mark.parametrize(
    ("started", "reached", "said"),
    [
        (exactly(1), exactly(1), "  1 trial starts; 1 reaches epoch 6"),
        (ForecastRange(1, 1, 2), ForecastRange(0, 1, 1), "  1 (1 to 2) trials start; 1 (0 to 1) reach epoch 6"),
        (exactly(14), exactly(0), "  14 trials start; 0 reach epoch 6"),
    ],
)
def test_trials_are_counted_in_the_right_number(started: ForecastRange, reached: ForecastRange, said: str) -> None:
    assert lines_of(plan_of(started, reached, exactly(9)))[2] == said


def test_the_end_has_a_range_only_if_it_differs(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlanView()
    view.show(plan_of(exactly(1), exactly(1), exactly(9)))
    assert " to " not in capsys.readouterr().out.splitlines()[-1]
    view.show(plan_of(exactly(1), exactly(1), ForecastRange(60, 600, 6000)))
    assert " to " in capsys.readouterr().out.splitlines()[-1]


def test_a_plan_without_trials_has_no_end(capsys: pytest.CaptureFixture[str]) -> None:
    plan = replace(plan_of(exactly(0), exactly(0), exactly(0)), nothing="its budget is used up")
    PlanView().show(plan)
    assert capsys.readouterr().out.splitlines() == ["s: its budget is used up"]


@pytest.mark.parametrize(
    ("trials", "high", "said"),
    [
        (1, 10.0, "the plan expected 0:10 of training, and it took 0:12 (+20%); it expected 1 trial, and 1 started"),
        (
            12,
            20.0,
            "the plan expected 0:10 (0:10 to 0:20) of training, and it took 0:12 (+20%); "
            "it expected 12 trials, and 1 started",
        ),
    ],
)
def test_a_comparison_counts_trials_in_the_right_number(trials: int, high: float, said: str) -> None:
    plan: dict[str, Any] = {
        "expected": {
            "device_seconds": {"low": 10.0, "middle": 10.0, "high": high},
            "started": {"low": trials, "middle": float(trials), "high": trials},
        },
        "took": {"device_seconds": 12.0, "started": 1},
    }
    assert comparison(plan) == said
