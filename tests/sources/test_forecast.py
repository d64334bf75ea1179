"""Tests of the warning before a sweep that cannot finish one epoch on this CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fer_tune.data.spec import FER2013
from fer_tune.settings import Settings
from fer_tune.sources.forecast import first_configuration, warning
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store, StudyRecord
from fer_tune.sweep.load import load_sweep
from tests.jobs.helpers import INLINE, Notebook, real_sweep
from tests.pool.trainers import obedient
from tests.searches import make_sweep
from tests.store.conftest import record

SWEEPS = Path(__file__).parents[2] / "sweeps"
RESNET, SIMPLE = SWEEPS / "resnet.yaml", SWEEPS / "simple_cnn.yaml"


@pytest.fixture
def store(searching: Settings) -> Iterator[Store]:
    with Store.of(searching) as store:
        yield store


def study(images: int) -> StudyRecord:
    """Returns a study of FER2013 with so many training images."""
    whole = record(data_spec=FER2013)
    return replace(whole, split=replace(whole.split, counts={"train": images}))


def test_a_large_network_on_a_cpu_is_warned_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement that does not end in its time is an answer too."""
    monkeypatch.setattr("fer_tune.sources.forecast.TIMEOUT", 0.5)
    sweep = load_sweep(RESNET, ["budget.hours=0.03"])
    said = warning(store, sweep, study(20_096), ["cpu"])
    assert said is not None
    assert "Probably no trial will finish an epoch" in said
    assert "the run ends after 108 seconds" in said
    assert "--hours, or a smaller network (fer-tune run simple_cnn, or --set width=...)." in said


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "1 second."), (0.36, "0.36 seconds."), (3, "3 seconds."), (90, "90 seconds.")]
)
def test_the_end_of_the_run_is_in_good_grammar(
    store: Store, monkeypatch: pytest.MonkeyPatch, seconds: float, words: str
) -> None:
    monkeypatch.setattr("fer_tune.sources.forecast._seconds_for_an_image", lambda *_: 1.0)
    said = warning(store, make_sweep(hours=seconds / 3600), study(200), ["cpu"])
    assert said is not None
    assert f"an epoch takes about 3 minutes on this CPU, and the run ends after {words}" in said


def test_no_sweep_is_advised_to_use_its_own_family(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_tune.sources.forecast._seconds_for_an_image", lambda *_: 1.0)
    said = warning(store, make_sweep(hours=0.001), study(200), ["cpu"])
    assert said is not None
    assert said.endswith("or a smaller network (--set width=...).")


def test_earlier_trials_say_how_long_an_epoch_takes(searching: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_tune.sources.forecast._seconds_for_an_image", lambda *_: 1.0)
    run_sweeps([make_sweep("before", budget=2)], searching, INLINE, trainer=obedient)
    with Store.of(searching) as store:
        before = store.studies.get("before")
        assert warning(store, make_sweep(hours=3 / 3600), before, ["cpu"]) is None
        said = warning(store, make_sweep(hours=0.001 / 3600), before, ["cpu"])
    assert said is not None
    assert said.startswith("s: by 2 earlier trials, an epoch takes 0.01 seconds or more on this CPU")


@pytest.mark.parametrize(
    ("changes", "images", "devices"),
    [
        ([], 20_096, ["cpu"]),  # the hours are removed below
        (["budget.hours=0.03"], 20_096, ["cuda:0"]),
        (["budget.hours=100"], 10, ["cpu"]),
    ],
    ids=["no hours", "a GPU", "hours that suffice"],
)
def test_nobody_is_warned_without_a_reason(store: Store, changes: list[str], images: int, devices: list[str]) -> None:
    sweep = replace(load_sweep(SIMPLE, [*changes, "params.width=8", "params.batch_size=16"]), start=())
    if not changes:
        sweep = replace(sweep, budget=sweep.budget.model_copy(update={"hours": None}))
    assert warning(store, sweep, study(images), devices) is None


@pytest.mark.slow  # it imports torch in a process of its own
def test_what_cannot_be_measured_is_no_warning(store: Store) -> None:
    assert warning(store, replace(make_sweep(hours=0.01), family="none"), study(100), ["cpu"]) is None


def test_the_first_configuration_is_the_first_start_with_what_is_fixed() -> None:
    sweep = make_sweep(start=[{"value": 0.5}, {"value": 0.7}])
    assert first_configuration(sweep) == {"value": 0.5, "seconds": 0.005, "deaf": False, "die": 0}


def test_a_run_says_it_before_its_first_trial(searching: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_tune.sources.forecast.warning", lambda *_: "No trial will finish an epoch.")
    watch = Notebook()
    run_sweeps([real_sweep(1)], searching, INLINE, watch)
    assert watch.notes[0] == "No trial will finish an epoch."


def test_a_stand_in_for_the_trainer_is_not_measured(searching: Settings) -> None:
    watch = Notebook()
    run_sweeps([make_sweep(budget=1, hours=1e-6)], searching, INLINE, watch, obedient)
    assert not [note for note in watch.notes if "epoch" in note]
