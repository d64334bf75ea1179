"""Notes during a run: a thread writes them, and the run neither waits nor ends for them."""

from __future__ import annotations

import fcntl
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fer_tune.dashboard import observer
from fer_tune.dashboard.observer import DashboardNotes
from fer_tune.dashboard.storage import trials_without_note
from fer_tune.dashboard.writer import NoteWriter
from fer_tune.job import Job
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import Ended, Plan, StudyOutcome
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.workers import RunOptions
from fer_tune.store import Store
from fer_tune.study import Counts, Study, trials
from fer_tune.sweep.load import loads_sweep
from tests.pool.trainers import obedient
from tests.searches import make_sweep
from tests.studies import SWEEP, add_trial, make_study, uid_of

SWEEP_READ = loads_sweep(SWEEP, Path("tiny.yaml"))
PLAN = Plan("tiny", "search", "simple_cnn", "demo", "val_accuracy", 20, 3)
INLINE = RunOptions(engine="inline", devices="cpu", wandb="disabled")
OUTCOME = StudyOutcome("tiny", Counts(), None, None, "budget")


def told(store: Store, notes: DashboardNotes, values: list[float]) -> None:
    """A trial ends, and the observer hears of it."""
    data = store.studies.get("tiny").data_ref(store.root)
    number = add_trial(store, Study.open(SWEEP_READ, store, data), "complete", values)
    job = Job(uid_of(number), "tiny", "search", "simple_cnn", {}, 3, 0, data, number=number)
    notes.job_ended(job, Ended(job.uid, number, "complete", max(values), "", len(values), 1.0))


def test_notes_of_earlier_runs_and_of_this_one_are_there_at_the_end(settings: Settings) -> None:
    with make_study(settings) as store, DashboardNotes(settings) as notes:
        notes.study_opened(PLAN, Counts(), ())
        told(store, notes, [0.3, 0.7])
        notes.study_closed(OUTCOME)
        assert trials_without_note(store, "tiny") == []


def test_a_run_does_not_wait_for_a_note(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoteWriter, "write", lambda self, number: time.sleep(0.4))
    monkeypatch.setattr(observer, "PATIENCE", 0.1)
    with make_study(settings, curves=()) as store:
        with DashboardNotes(settings) as notes:
            notes.study_opened(PLAN, Counts(), ())
            for _ in range(4):
                told(store, notes, [0.3])
            started = time.monotonic()
            notes.study_closed(OUTCOME)
            assert time.monotonic() - started < 0.4
        monkeypatch.undo()
        assert NoteWriter(store, settings, "tiny").catch_up() == 4  # the next run writes what is missing


def test_what_a_killed_run_half_drew_is_removed_by_the_next(settings: Settings) -> None:
    """A campaign of kills found such a file. What another process writes just now stays."""
    settings.pictures.mkdir(parents=True)
    for name in (".0003-cf.x1y2z3.draft", ".0003-cd.x1y2z3.draft", ".0004-cf.x1y2z3.draft", "0003-cf"):
        (settings.pictures / name).touch()
    with make_study(settings, curves=()), (settings.pictures / ".0004-cf.x1y2z3.draft").open("w") as written:
        fcntl.flock(written, fcntl.LOCK_EX)
        with DashboardNotes(settings) as notes:
            notes.study_opened(PLAN, Counts(), ())
            notes.study_closed(OUTCOME)
        assert {path.name for path in settings.pictures.iterdir()} == {written.name.rpartition("/")[2], "0003-cf"}


def test_an_error_of_the_thread_is_raised_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: NoteWriter, number: int) -> None:
        raise RuntimeError("made to fail")

    monkeypatch.setattr(NoteWriter, "write", fail)
    with make_study(settings) as store, DashboardNotes(settings) as notes:
        notes.study_opened(PLAN, Counts(), ())
        with pytest.raises(RuntimeError, match="made to fail"):
            notes.study_closed(OUTCOME)
        told(store, notes, [0.3])


def test_two_studies_one_after_another(settings: Settings) -> None:
    other = SWEEP.replace("study: tiny", "study: other")
    with make_study(settings) as store, DashboardNotes(settings) as notes:
        make_study(settings, sweep=other).close()
        for study in ("tiny", "other"):
            notes.study_opened(replace(PLAN, study=study), Counts(), ())
            notes.study_closed(OUTCOME)
        assert trials_without_note(store, "tiny") == trials_without_note(store, "other") == []


class Listener(Observer):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_run_leaves_a_note_on_each_trial(searching: Settings) -> None:
    run_sweeps([make_sweep(budget=3)], searching, INLINE, trainer=obedient)
    with Store.of(searching) as store:
        assert len(trials(store, "s")) == 3
        assert trials_without_note(store, "s") == []


def test_an_error_in_a_note_does_not_end_the_run(searching: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: NoteWriter, number: int) -> None:
        raise RuntimeError("made to fail")

    monkeypatch.setattr(NoteWriter, "write", fail)
    listener = Listener()
    outcome = run_sweeps([make_sweep(budget=3)], searching, INLINE, listener, trainer=obedient)
    assert outcome.completed == 3
    [said] = [note for note in listener.notes if "made to fail" in note]
    assert said.startswith("DashboardNotes failed (RuntimeError: made to fail). The run continues without it.")
