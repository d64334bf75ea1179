"""Only figures on test of one kind are compared with the figure of a search."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fer_tune.job import Job, new_uid
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.store.openings import Openings
from fer_tune.study.standings import overtuning
from fer_tune.study.usual_fits import on_test, unusual
from tests.studies import make_study


def add(store: Store, settings: Settings, accuracy: float, **how: Any) -> None:
    """Leaves a final fit of trial 1, over the schedule of three epochs that the study has."""
    record = store.studies.get("tiny")
    known: dict[str, Any] = {"trial": 1, "seed": 0, "on": "train+val", "changes": {}, "schedule": 3, "epochs": 3} | how
    known["test"] = {"plain": {"accuracy": accuracy}, "flip": {"accuracy": 0.99}}
    job = Job(new_uid(), "tiny", "final", "simple_cnn", {}, known["schedule"], 0, record.data_ref(store.root))
    store.jobs.put(job, origin={"trial": known["trial"]})
    file = settings.job_folder("tiny", record.uid, job.uid) / "metrics.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(known))
    store.artifacts.add("tiny", job.uid, "metrics", file)


def read(store: Store) -> list[float]:
    return on_test(store, store.studies.get("tiny"), 1).accuracies


def test_each_seed_counts_once_with_its_latest_fit(settings: Settings) -> None:
    with make_study(settings) as store:
        assert read(store) == []
        for accuracy, seed in ((0.5, 1), (0.4, 0), (0.3, 0)):
            add(store, settings, accuracy, seed=seed)
        assert read(store) == [0.3, 0.5]
        meter = overtuning(store, "tiny", 1)
    assert meter is not None
    assert meter.figures[-1].values == (0.3, 0.5), "the plain view, as the search has it"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"schedule": 1, "epochs": 1}, "over a schedule of 1 instead of 3 epochs"),
        ({"on": "train"}, "on the training images alone"),
        ({"changes": {"lr": 0.1, "nesterov": True}}, "with lr=0.1, nesterov=true"),
    ],
)
def test_a_fit_of_another_kind_does_not_count(settings: Settings, how: dict[str, Any], said: str) -> None:
    with make_study(settings) as store:
        add(store, settings, 0.5)
        add(store, settings, 0.1, **how)
        assert read(store) == [0.5]
        known: dict[str, Any] = {"on": "train+val", "changes": {}, "schedule": 3} | how
        known.pop("epochs", None)
        assert unusual(store.studies.get("tiny"), **known) == [said]


def test_the_openings_are_those_up_to_the_figure(settings: Settings) -> None:
    """Later openings, such as those of an evaluation, are not before the figure."""
    with make_study(settings) as store:
        add(store, settings, 0.5, seed=0, test_openings=3)
        add(store, settings, 0.4, seed=1, test_openings=4)
        Openings(store.root).open("later", store.studies.get("tiny").split.hash, purpose="evaluate", model="m")
        meter = overtuning(store, "tiny", 1)
    assert meter is not None
    assert meter.openings == 4


def test_a_fit_of_another_trial_does_not_count(settings: Settings) -> None:
    with make_study(settings) as store:
        add(store, settings, 0.5, trial=0)
        assert read(store) == []


def test_fits_of_one_length_count_together(settings: Settings) -> None:
    """A fit over a longer schedule is usual, and is not mixed with those over the study's."""
    with make_study(settings) as store:
        for seed in range(3):
            add(store, settings, 0.5, seed=seed)
        add(store, settings, 0.6, seed=0, schedule=9, epochs=9)
        assert read(store) == [0.6]
        add(store, settings, 0.55, seed=0, schedule=9, epochs=4)
        assert read(store) == [0.55], "it stopped early, and the other did not"
        add(store, settings, 0.5, seed=2)
        assert read(store) == [0.5, 0.5, 0.5]


def test_damaged_figures_are_left_out(settings: Settings) -> None:
    with make_study(settings) as store:
        add(store, settings, 0.5)
        add(store, settings, 0.4, seed=None, schedule=3, epochs="x")
        for content in ("{", "[]", "{}", '{"changes": {}}'):
            add(store, settings, 0.5)
            *_, last = store.artifacts.of("tiny")
            store.artifacts.path(last).write_text(content)
        assert read(store) == [0.5]
