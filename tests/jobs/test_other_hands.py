"""Tests that another program in the database ends no run: queue, trials, study and tables."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from fer_tune.errors import FerTuneError, StorageError, StudyError
from fer_tune.job import EpochRow, Job
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store
from fer_tune.study import Counts, summaries, trials
from tests.jobs.helpers import INLINE, LOCAL, Notebook, once, run
from tests.pool.trainers import obedient
from tests.searches import make_sweep


def other(settings: Settings) -> optuna.Study:
    """Returns the study as another program opens it."""
    return optuna.load_study(study_name="s", storage=settings.url)


def sql(settings: Settings, *statements: str) -> None:
    with closing(sqlite3.connect(settings.root / "fer_tune.db", timeout=20)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def at(number: int, epoch: int, act: Callable[[], object]) -> Notebook:
    """Returns an observer that acts once, after this epoch of this trial."""
    done: list[bool] = []

    def watch(job: Job, row: EpochRow) -> None:
        if job.number == number and row.epoch >= epoch and not done:
            done.append(True)
            act()

    return Notebook(on_epoch=watch)


def counts(settings: Settings) -> Counts:
    with Store.of(settings) as store:
        return summaries(store)[0].counts


# the queue ------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Fixed parameter value:UserWarning")  # Optuna's, of a value out of range
@pytest.mark.parametrize("value", ["abc", None, [1], {"a": 1}, True, 1e999])
def test_a_poisoned_entry_fails_with_its_reason(settings: Settings, value: Any) -> None:
    run(make_sweep(budget=1), settings)
    other(settings).enqueue_trial({"value": value})
    outcome, watch = run(make_sweep(budget=4), settings)
    assert outcome.studies[0].counts.complete >= 2
    with Store.of(settings) as store:
        found = {trial.number: trial for trial in trials(store, "s")}
    if found[1].state == "failed":
        assert "value" in found[1].attrs["reason"]
        assert any("trial 1" in note for note in watch.notes)
    again, _ = run(make_sweep(budget=4), settings)
    assert again.studies[0].counts == outcome.studies[0].counts


def test_a_queue_of_poison_is_drained(settings: Settings) -> None:
    run(make_sweep(budget=1), settings)
    for _ in range(5):
        other(settings).enqueue_trial({"value": "abc"})
    outcome, _ = run(make_sweep(budget=8), settings, LOCAL)
    assert outcome.studies[0].counts.failed == 5
    assert outcome.studies[0].counts.complete == 3


def test_an_entry_during_the_run_is_poisoned(settings: Settings) -> None:
    watch = at(0, 1, lambda: other(settings).enqueue_trial({"value": "abc"}))
    outcome = run_sweeps([make_sweep(budget=3)], settings, INLINE, watch, obedient)
    assert (outcome.studies[0].counts.failed, outcome.studies[0].counts.complete) == (1, 2)


# trials ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.COMPLETE, TrialState.PRUNED])
@pytest.mark.parametrize("epoch", [1, 3])
def test_a_trial_that_is_told_elsewhere_is_dropped(settings: Settings, state: TrialState, epoch: int) -> None:
    value = 0.99 if state == TrialState.COMPLETE else None
    watch = at(1, epoch, lambda: other(settings).tell(1, value, state=state))
    outcome = run_sweeps([make_sweep(budget=4)], settings, INLINE, watch, obedient)
    assert any("trial 1" in note and "another program" in note for note in watch.notes), watch.notes
    assert outcome.studies[0].counts.finished == 4
    with Store.of(settings) as store:
        told, job = trials(store, "s")[1], store.jobs.find_trial("s", 1)
        assert job is not None
        assert told.state == job.state == {"FAIL": "failed", "COMPLETE": "complete", "PRUNED": "pruned"}[state.name]
        assert state != TrialState.COMPLETE or told.value == job.value == 0.99
        assert all(attempt.ended for attempt in store.jobs.attempts("s"))


def test_a_trial_that_ctrl_c_has_stopped_and_that_is_then_told_elsewhere_is_dropped(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_tune.sources.other_hands.LOOK_SECONDS", 0.0)

    class Telling(Notebook):
        def tick(self) -> None:
            with Store.of(settings) as store:
                stopped = [one.number for one in store.jobs.attempts("s") if one.ended is not None]
            if stopped == [1]:
                other(settings).tell(1, state=TrialState.FAIL)

    watch = Telling(on_epoch=once(2, lambda: signal.raise_signal(signal.SIGINT)))
    outcome = run_sweeps([make_sweep(budget=2, epochs=9)], settings, replace(INLINE, workers=2), watch, obedient)
    assert outcome.interrupted
    assert {ended.number: ended.state for ended in watch.ended} == {0: "requeued", 1: "pruned"}
    assert any("trial 1 was ended by another program" in note for note in watch.notes), watch.notes
    assert outcome.studies[0].counts == Counts(waiting=1, failed=1)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_trial_that_is_deleted_is_dropped(settings: Settings, number: int) -> None:
    def delete() -> None:
        tables = ("trial_user_attributes", "trial_system_attributes", "trial_params", "trial_values")
        of_trial = f"trial_id = (SELECT trial_id FROM trials WHERE number = {number})"
        rows = [f"DELETE FROM {table} WHERE {of_trial}" for table in (*tables, "trial_intermediate_values", "trials")]
        sql(settings, *rows)

    watch = at(1, 1, delete)
    outcome = run_sweeps([make_sweep(budget=4)], settings, INLINE, watch, obedient)
    if number == 1:
        assert any("trial 1" in note and "deleted" in note for note in watch.notes), watch.notes
    assert outcome.studies[0].counts.running == 0
    again, _ = run(make_sweep(budget=4), settings)
    assert again.studies[0].counts.complete == 4
    with Store.of(settings) as store:
        assert all(attempt.ended for attempt in store.jobs.attempts("s"))


# the study ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [INLINE, LOCAL], ids=["inline", "local"])
def test_a_study_that_is_deleted_ends_its_run_with_a_sentence(settings: Settings, options: Any) -> None:
    watch = at(1, 1, lambda: optuna.delete_study(study_name="s", storage=settings.url))
    with pytest.raises(StudyError, match="Another program deleted the study s") as caught:
        run_sweeps([make_sweep(budget=6)], settings, options, watch, obedient)
    assert "studies delete" in caught.value.hint
    with pytest.raises(StudyError, match="deleted") as refused:
        run(make_sweep(budget=6), settings)
    assert "studies delete" in refused.value.hint


# tables ---------------------------------------------------------------------------------------------------------------


OPTUNAS = ["trials", "studies", "trial_user_attributes", "alembic_version"]
OURS = ["fer_jobs", "fer_schema", "fer_studies", "fer_cursors"]


@pytest.mark.parametrize("table", [*OPTUNAS, *OURS])
def test_a_table_that_is_dropped_is_refused_and_not_made_again(settings: Settings, table: str) -> None:
    run(make_sweep(budget=1), settings)
    sql(settings, "PRAGMA foreign_keys = OFF", f"DROP TABLE {table}")
    with pytest.raises(StorageError, match=table):
        run(make_sweep(budget=2), settings)
    with closing(sqlite3.connect(settings.root / "fer_tune.db")) as connection:
        assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is None


def test_all_tables_of_optuna_that_are_dropped_are_refused(settings: Settings) -> None:
    run(make_sweep(budget=1), settings)
    with closing(sqlite3.connect(settings.root / "fer_tune.db")) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    sql(settings, "PRAGMA foreign_keys = OFF", *(f"DROP TABLE {name}" for name in names if not name.startswith("fer")))
    with pytest.raises(StorageError, match="lacks tables that it had: alembic_version, studies"):
        run(make_sweep(budget=2), settings)


def test_a_table_that_is_dropped_during_a_run_ends_it_with_a_sentence(settings: Settings) -> None:
    watch = at(1, 1, lambda: sql(settings, "PRAGMA foreign_keys = OFF", "DROP TABLE trials"))
    with pytest.raises(FerTuneError, match="trials"):
        run_sweeps([make_sweep(budget=4)], settings, INLINE, watch, obedient)
