"""Tests that a study continues with the images that it was made from, also in another folder."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from sqlalchemy import update

from fer_tune.errors import StudyError
from fer_tune.store import Store, tables
from fer_tune.study import Study
from tests.study.conftest import MakeSweep, faces


def test_the_same_images_at_another_path_continue_the_study(sweep: MakeSweep, store: Store) -> None:
    Study.open(sweep("data=faces"), store, faces(store)).ask()
    for path in ("../moved/faces", "/elsewhere/faces.zip", "./faces"):
        assert Study.open(sweep(f"data={path}"), store, faces(store)).counts().running == 1
    assert len(store.studies.all()) == 1


def test_other_images_at_the_same_path_are_refused_with_what_to_do(sweep: MakeSweep, store: Store) -> None:
    Study.open(sweep("data=faces"), store, faces(store)).ask()
    with pytest.raises(StudyError, match="other images than faces") as caught:
        Study.open(sweep("data=faces"), store, faces(store, "eyes"))
    assert "--data" in caught.value.hint
    Study.open(sweep("data=old/faces"), store, faces(store))  # as the hint says


def test_a_study_of_which_no_trial_was_started_takes_a_changed_sweep(sweep: MakeSweep, store: Store) -> None:
    """So one may change a sweep after `run --plan`, or after a run that failed at its start."""
    Study.open(sweep(), store, faces(store))
    changed = Study.open(sweep("seed=8", "budget.epochs=3"), store, faces(store, "eyes"))
    [record] = store.studies.all()
    assert (record.data_signature, record.sweep_json["epochs"]) == ("eyes", 3)
    assert changed.ask().name == "by hand 1"
    assert changed.counts().waiting == 0
    with pytest.raises(StudyError, match="made by another sweep"):
        Study.open(sweep(), store, faces(store))


def test_a_trial_that_another_program_enqueued_keeps_the_study(sweep: MakeSweep, store: Store) -> None:
    Study.open(sweep(), store, faces(store))
    optuna.load_study(study_name="tiny", storage=store.url).enqueue_trial({"augment": 0.5})
    with pytest.raises(StudyError, match="epochs: 9, now 3"):
        Study.open(sweep("budget.epochs=3"), store, faces(store))


@pytest.mark.parametrize("override", ["data.side=64", "data.channels=3"])
def test_images_of_another_shape_are_refused(override: str, sweep: MakeSweep, store: Store) -> None:
    Study.open(sweep(), store, faces(store)).ask()
    with pytest.raises(StudyError, match=r"data\.(side: 48, now 64|channels: 1, now 3)"):
        Study.open(sweep(override), store, faces(store))


def test_a_study_whose_record_has_the_path_is_continued(sweep: MakeSweep, store: Store) -> None:
    """Older studies are recorded so, from before images had a side and channels."""
    Study.open(sweep("data=faces"), store, faces(store)).ask()
    record = store.studies.get("tiny")
    with store.engine.begin() as tx:
        old = {"sweep_json": record.sweep_json | {"data": "faces"}, "sweep_signature": "0" * 64}
        tx.execute(update(tables.studies).values(**old))
    Study.open(sweep("data=moved"), store, faces(store))
    with pytest.raises(StudyError, match="side: 48, now 64"):
        Study.open(replace(sweep(), side=64), store, faces(store))
