"""A board follows a run event by event, and the database tells the same."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from rich.console import Console

from fer_tune.cli.run import _recall
from fer_tune.data.spec import DataRef
from fer_tune.display.from_database import History
from fer_tune.display.live import LiveView
from fer_tune.display.run_state import Finished, Place, Point, RunState
from fer_tune.job import Job
from fer_tune.jobs import Ended
from fer_tune.pool import WorkerInfo
from fer_tune.settings import Settings
from fer_tune.sources.run import RunOptions, run_sweeps
from fer_tune.store import Store
from fer_tune.study import Counts
from fer_tune.sweep.load import loads_sweep
from tests.pool.trainers import obedient
from tests.searches import obedient_sweep
from tests.studies import SWEEP, epoch_row

WORKERS = [WorkerInfo(0, "cuda:0", 1), WorkerInfo(1, "cuda:1", 2)]


def spec(number: int, attempt: int = 0, epochs: int = 3) -> Job:
    here = Path()
    return Job("tiny", number, "simple_cnn", {}, epochs, 0, DataRef(here, "d", here, "s"), attempt)


def opened(counts: Counts, hours: float | None = None) -> RunState:
    board = RunState()
    sweep = loads_sweep(SWEEP if hours is None else SWEEP.replace("epochs: 3", f"epochs: 3, hours: {hours}"), Path("x"))
    board.study_opened(sweep, counts, WORKERS)
    return board


def point(number: int, epoch: int, value: float) -> Point:
    return Point(epoch, value, epoch_row(number, epoch, value).seconds)


def test_it_follows_a_trial_from_worker_to_worker() -> None:
    board = opened(Counts(complete=4, pruned=2))
    assert [place.doing for place in board.places.values()] == ["starting", "starting"]
    board.worker_ready(WORKERS[0])
    board.trial_started(spec(7), WORKERS[0], "by hand")
    board.epoch(spec(7), epoch_row(7, 1, 0.5), 0.5)
    board.epoch(spec(7), epoch_row(7, 2, 0.55), 0.55)
    curve = [point(7, 1, 0.5), point(7, 2, 0.55)]
    assert board.places[0] == Place(
        "cuda:0", "training", 7, "by hand", 3, curve, epoch_row(7, 2, 0.55).images_per_second
    )
    board.worker_lost(WORKERS[0], "killed", "")
    assert (board.running, board.places[0].doing) == (0, "starting")
    board.trial_started(spec(7, attempt=1), WORKERS[1], "by hand")  # from its checkpoint of epoch 1
    board.epoch(spec(7, attempt=1), epoch_row(7, 2, 0.6, attempt=1), 0.6)
    board.trial_ended(spec(7, attempt=1), Ended(7, "complete", 0.6, "", 1, 0.25))
    kept = Finished(7, "complete", 0.6, 3, (point(7, 1, 0.5), point(7, 2, 0.6)), "by hand")
    assert (board.done, board.running, board.best, list(board.last)) == (5, 0, kept, [kept])
    assert board.spent == pytest.approx(0.75)
    assert board.places[1].doing == "idle"


def test_what_pruning_saved_is_the_epochs_not_run_at_the_trials_own_pace() -> None:
    curve = (Point(1, 0.1, 2.0), Point(2, 0.1, 4.0))
    assert Finished(0, "pruned", 0.1, 10, curve, None, "pruned in epoch 2").saved == 8 * 3.0
    assert Finished(0, "pruned", 0.1, 10, curve[1:], None, "pruned in epoch 2").saved == 8 * 4.0  # went on from epoch 1
    for reason in ("time", "the loss is not finite in epoch 3", "it took longer than its trial_timeout of 1 s"):
        assert Finished(0, "pruned", 0.1, 10, curve, None, reason).saved == 0
    assert Finished(0, "complete", 0.1, 10, curve).saved == 0  # out of patience
    assert Finished(0, "pruned", None, 10).saved == 0


def test_the_last_five_and_the_top_five() -> None:
    board = opened(Counts())
    for number, value in enumerate([0.3, 0.5, 0.5, 0.1, 0.2, 0.4, 0.6]):
        board.add(Finished(number, "complete", value, 3))
    board.add(Finished(7, "pruned", 0.9, 3))
    board.add(Finished(8, "requeued", 0.9, 3))
    assert [trial.number for trial in board.top] == [6, 1, 2, 5, 0]
    assert [trial.number for trial in board.last] == [7, 6, 5, 4, 3]
    assert board.finished == 8


def test_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    board = opened(Counts(complete=15))
    assert board.left is None
    board.recall([Finished(n, "complete", 0.5, 3, (Point(1, 0.5, 1.0), Point(2, 0.5, 1.0))) for n in range(15)], 30.0)
    board.trial_started(spec(15), WORKERS[0], None)
    clock = 1010.0
    board.epoch(spec(15), epoch_row(15, 1, 0.5), 0.5)
    # An epoch in ten seconds; trials had two epochs on average: one is left of this trial, and eight of four more.
    assert board.left == pytest.approx(90.0)
    hasty = opened(Counts(complete=15), hours=0.01)
    hasty.began = clock
    assert hasty.left == pytest.approx(36.0)
    clock = 1040.0
    assert hasty.left == pytest.approx(6.0)
    clock = 2000.0
    assert hasty.left == 0.0


def test_a_run_and_its_database_show_the_same(searching: Settings) -> None:
    """Twice, the second time a study that is continued."""
    options = RunOptions(engine="inline", devices="cpu", workers=2, wandb="disabled")
    for trials in (5, 9):
        watch = LiveView(Console(quiet=True), lambda board: _recall(board, searching))
        run_sweeps([obedient_sweep(trials)], searching, options, watch, obedient)
        with Store.of(searching) as store:
            read = History(store, store.studies.get("obedient")).board()
        told = watch.board
        for name in ("study", "family", "data", "objective", "budget", "epochs", "hours", "done", "pruned", "failed"):
            assert getattr(read, name) == getattr(told, name), name
        assert read.finished == trials
        assert read.pruned > 0
        assert list(read.last) == list(told.last)
        assert read.top == told.top
        assert "by hand" in [trial.name for trial in read.top]
        assert read.spent == pytest.approx(told.spent)
        assert read.saved == pytest.approx(told.saved)
        assert read.saved > 0
        assert {index: place.device for index, place in read.places.items()} == {0: "cpu", 1: "cpu"}
