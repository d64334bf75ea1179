"""Tests of the warning before a sweep that cannot finish one epoch on this CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fer_tune.data.spec import FER2013
from fer_tune.settings import Settings
from fer_tune.sources.forecast import first_configuration, warning
from fer_tune.sources.run import run_sweeps
from fer_tune.sweep.load import load_sweep
from tests.jobs.helpers import INLINE, Notebook
from tests.pool.trainers import obedient
from tests.searches import make_sweep

RESNET = Path(__file__).parents[2] / "sweeps" / "resnet.yaml"


def test_a_large_network_on_a_cpu_is_warned_of() -> None:
    sweep = load_sweep(RESNET, ["budget.hours=0.03"])
    said = warning(sweep, FER2013, 20_096, ["cpu"])
    assert said is not None
    assert "No trial will finish an epoch" in said
    assert "the run ends after 108 seconds" in said
    assert "--hours" in said


@pytest.mark.parametrize(
    ("changes", "images", "devices"),
    [
        ([], 20_096, ["cpu"]),  # the hours are removed below
        (["budget.hours=0.03"], 20_096, ["cuda:0"]),
        (["budget.hours=100"], 10, ["cpu"]),
    ],
    ids=["no hours", "a GPU", "hours that suffice"],
)
def test_nobody_is_warned_without_a_reason(changes: list[str], images: int, devices: list[str]) -> None:
    sweep = load_sweep(RESNET, changes)
    if not changes:
        sweep = replace(sweep, budget=sweep.budget.model_copy(update={"hours": None}))
    assert warning(sweep, FER2013, images, devices) is None


def test_what_cannot_be_measured_is_no_warning() -> None:
    assert warning(replace(make_sweep(hours=0.01), family="none"), FER2013, 100, ["cpu"]) is None


def test_the_first_configuration_is_the_first_start_with_what_is_fixed() -> None:
    sweep = make_sweep(start=[{"value": 0.5}, {"value": 0.7}])
    assert first_configuration(sweep) == {"value": 0.5, "seconds": 0.005, "deaf": False, "die": 0}


def test_a_run_says_it_before_its_first_trial(searching: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_tune.sources.run.warning", lambda *_: "No trial will finish an epoch.")
    watch = Notebook()
    run_sweeps([make_sweep(budget=1)], searching, INLINE, watch, obedient)
    assert watch.notes[0] == "No trial will finish an epoch."
