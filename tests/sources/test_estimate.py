"""A run on the CPU says beforehand that its hours are too few for an epoch."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fer_tune.data.spec import FER2013
from fer_tune.settings import Settings
from fer_tune.sources import estimate
from fer_tune.sources.estimate import estimate_epoch_seconds, hopeless, warn_of_hours
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.schema import Sweep
from fer_tune.train.estimate import seconds_per_image
from tests.studies import make_study


def sweep(hours: float | None = None) -> Sweep:
    budget = "" if hours is None else f"budget: {{hours: {hours}}}\n"
    text = f"study: tiny\nfamily: simple_cnn\n{budget}params: {{width: 8, lr: {{low: 0.1, high: 1}}}}\n"
    return loads_sweep(text, Path("tiny.yaml"))


def test_too_few_hours_are_named_with_what_to_do() -> None:
    text = hopeless(sweep(hours=0.03), epoch=3000.0)
    assert text.startswith(
        "tiny: an epoch of its first trial takes about 50 minutes on this CPU, and this run has 108 s."
    )
    assert "--hours 3.3" in text
    assert "--set width=" in text


@pytest.mark.parametrize(("hours", "epoch"), [(0.03, 107.0), (None, 1e9), (1.0, 3600.0)])
def test_enough_hours_need_no_warning(hours: float | None, epoch: float) -> None:
    assert hopeless(sweep(hours), epoch) == ""


def test_an_epoch_is_measured_in_a_process_of_its_own() -> None:
    epoch = estimate_epoch_seconds(sweep(), FER2013, images=1000, threads=1)
    assert epoch is not None
    assert 0.01 < epoch < 100


def test_a_larger_network_takes_longer() -> None:
    small, large = (seconds_per_image("resnet", {"width": width}, FER2013) for width in (0.25, 1.0))
    assert 2 * small < large


@pytest.mark.parametrize(
    ("hours", "devices", "warned"),
    [(0.001, ["cpu", "cpu"], True), (0.001, ["cuda:0"], False), (None, ["cpu"], False), (9.0, ["cpu"], False)],
)
def test_only_a_run_on_the_cpu_with_hours_is_measured(
    hours: float | None, devices: list[str], warned: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "estimate_epoch_seconds", lambda *_: 60.0)
    notes: list[str] = []
    with make_study(settings, ()) as store:
        record = store.studies.get("tiny")
        warn_of_hours(
            sweep(hours), replace(record, split=replace(record.split, counts={"train": 9})), devices, notes.append
        )
    assert bool(notes) == warned


def test_a_measurement_that_takes_too_long_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "TIMEOUT", 0.05)
    assert estimate_epoch_seconds(sweep(), FER2013, images=100, threads=1) == 200.0


def test_a_measurement_that_fails_gives_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert estimate_epoch_seconds(sweep(), FER2013, images=9, threads=1) is None
