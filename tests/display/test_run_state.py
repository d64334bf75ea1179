"""A run state follows a run event by event, and the database says the same."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fer_tune.data.spec import DataRef
from fer_tune.display.from_database import StudyReader
from fer_tune.display.live import LiveView
from fer_tune.display.recall import recall
from fer_tune.display.run_state import RunState
from fer_tune.display.shown import ShownJob
from fer_tune.job import EpochRow, Job, Kind, StepProgress
from fer_tune.jobs import Ended, Plan
from fer_tune.jobs.observers import Observers
from fer_tune.jobs.outcome import EndState
from fer_tune.pool import Slot, WorkerInfo
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.workers import RunOptions
from fer_tune.store import Store
from fer_tune.study import Counts
from tests.pool.trainers import obedient
from tests.searches import obedient_sweep
from tests.studies import epoch_row, uid_of

WORKERS = [WorkerInfo(0, "cuda:0", 1), WorkerInfo(1, "cuda:1", 2)]


PLAN = Plan("tiny", "search", "simple_cnn", "demo", "val_accuracy", jobs=20, epochs=3)


def job_of(number: int, attempt: int = 0, name: str | None = None) -> Job:
    here, params = Path(), {"lr": 0.1}
    data = DataRef(here, "d", here, "s")
    return Job(
        uid_of(number), "tiny", "search", "simple_cnn", params, 3, 0, data, number=number, name=name, attempt=attempt
    )


def opened(counts: Counts, plan: Plan = PLAN) -> RunState:
    state = RunState()
    state.study_opened(plan, counts, WORKERS)
    return state


def end_of(number: int, value: float | None, state: EndState = "complete", reason: str = "") -> Ended:
    return Ended(uid_of(number), number, state, value, reason, 3, 0.75)


def row(number: int, epoch: int, attempt: int = 0) -> EpochRow:
    return epoch_row(number, epoch, 0.5 + epoch / 100, attempt)


def feed(state: RunState, *rows: EpochRow) -> None:
    for one in rows:
        number = next(number for number in range(30) if uid_of(number) == one.job)
        state.epoch(job_of(number, one.attempt), one, one.val_accuracy, False)


def ended(number: int, value: float | None, state: str = "complete", reason: str = "", epochs: int = 0) -> ShownJob:
    rows = [epoch_row(number, epoch, 0.5) for epoch in range(1, epochs + 1)]
    return ShownJob(f"trial {number}", number, "val_accuracy", 10, rows=rows, state=state, value=value, reason=reason)


def test_it_follows_a_trial_from_worker_to_worker() -> None:
    state = opened(Counts(complete=4, pruned=2))
    assert [worker.doing for worker in state.workers.values()] == ["starting", "starting"]
    assert state.spent is None
    state.worker_ready(WORKERS[0])
    state.job_started(job_of(7, name="by hand"), WORKERS[0])
    feed(state, row(7, 1), row(7, 2))
    [job] = state.running
    assert (job.name, job.params, job.epoch, job.shown_value) == ("by hand", {"lr": 0.1}, 2, 0.52)
    state.worker_lost(WORKERS[0], "killed", "")
    assert (state.running, state.workers[Slot(0)].doing) == ([], "starting")
    state.job_started(job_of(7, attempt=1, name="by hand"), WORKERS[1])
    feed(state, row(7, 1, attempt=1), row(7, 2, attempt=1), row(7, 3, attempt=1))
    state.job_ended(job_of(7, attempt=1), end_of(7, 0.53))
    assert (state.counts["complete"], state.running, state.best, list(state.last)) == (5, [], [job], [job])
    assert [one.epoch for one in job.rows] == [1, 2, 3]
    assert state.workers[Slot(1)].doing == "idle"


def test_a_worker_shows_each_of_its_lanes_while_it_has_a_job() -> None:
    state = opened(Counts())
    several = replace(WORKERS[0], lanes=3)
    state.worker_ready(several)
    for lane in range(3):
        state.job_started(job_of(lane), several, lane)
        feed(state, replace(row(lane, 1), images_per_second=1000.0 * (lane + 1), device_seconds=0.1))
    assert sorted(state.workers) == [Slot(0, 0), Slot(0, 1), Slot(0, 2), Slot(1)]
    assert state.rates == {"cuda:0": 6000.0}
    assert state.spent == pytest.approx(0.3), "the device was counted once for each lane"
    state.job_ended(job_of(2), end_of(2, 0.5))
    state.lanes_changed(WORKERS[0])
    assert sorted(state.workers) == [Slot(0, 0), Slot(0, 1), Slot(1)], "only an idle lane goes"
    state.worker_lost(WORKERS[0], "killed", "")
    assert sorted(state.workers) == [Slot(0), Slot(1)]


def test_the_time_left_counts_what_lanes_train_at_the_same_time() -> None:
    """Twenty trials of three epochs, each of which has its device for a tenth of a second."""
    state = opened(Counts(), replace(PLAN, jobs=20))
    for lane in range(4):
        state.job_started(job_of(lane), replace(WORKERS[0], lanes=4), lane)
        feed(state, replace(row(lane, 1), seconds=0.4, device_seconds=0.1))
    assert state.left == pytest.approx((16 * 3 + 4 * 2) * 0.1 / 2)
    state.budget = 4
    assert state.left == pytest.approx(2 * 0.4), "the last trials still train beside each other"


def test_an_epoch_that_is_sent_again_costs_nothing() -> None:
    """An attempt that continues from a checkpoint sends the rows up to there again."""
    state = opened(Counts())
    state.job_started(job_of(7), WORKERS[0])
    feed(state, row(7, 1), row(7, 2))
    pace, left = state.spent, state.left
    state.worker_lost(WORKERS[0], "killed", "")
    assert state.spent == pace  # also while the job waits for another worker
    state.job_started(job_of(7, attempt=1), WORKERS[1])
    feed(state, row(7, 1, attempt=1), row(7, 2, attempt=1))
    assert (state.spent, state.left) == (pace, left)
    feed(state, row(7, 3, attempt=1))
    assert state.spent == pytest.approx(0.75)
    state.job_ended(job_of(7, attempt=1), end_of(7, 0.53))
    assert state.spent == pytest.approx(0.75)


def test_a_trial_that_is_queued_again_counts_only_where_it_continues() -> None:
    state = opened(Counts())
    state.job_started(job_of(7), WORKERS[0])
    feed(state, row(7, 1), row(7, 2))
    state.job_ended(job_of(7), end_of(7, 0.52, "requeued", "interrupted"))
    assert (state.finished, state.spent, list(state.last)) == (0, None, [])


def test_each_study_of_a_run_begins_with_a_fresh_state() -> None:
    state = opened(Counts(failed=2))
    state.worker_ready(WORKERS[0])
    state.recall([ended(1, 0.5, epochs=2)])
    state.study_closed(None)  # type: ignore[arg-type]
    state.study_opened(replace(PLAN, study="other"), Counts(), WORKERS)
    assert (state.study, state.finished, state.spent, state.best, state.over) == ("other", 0, None, [], None)
    assert state.workers[Slot(0)].doing == "idle"


def test_final_fits_have_no_validation_part() -> None:
    plan = Plan("tiny", "final", "simple_cnn", "demo", "train_accuracy", jobs=2, epochs=3)
    state = opened(Counts(), plan)
    fit = replace(job_of(7), kind="final", number=None, seed=4, objective="train_accuracy", fit="train+val")
    state.job_started(fit, WORKERS[0])
    state.epoch(fit, replace(row(7, 1), val_accuracy=float("nan")), 0.5, False)
    [job] = state.running
    assert (job.label, job.number, job.shown_value) == (f"final fit {uid_of(7)}", 4, 0.5)
    assert state.left == pytest.approx(5 / 2 * 0.25)
    state.job_ended(fit, replace(end_of(7, 0.5), number=None))
    assert (state.finished, state.best, list(state.last)) == (1, [], [job])


@pytest.mark.parametrize(
    ("kind", "label"),
    [("search", "trial 7"), ("confirm", f"confirmation {uid_of(7)}"), ("final", f"final fit {uid_of(7)}")],
)
def test_a_job_is_named_after_its_kind(kind: Kind, label: str) -> None:
    assert replace(job_of(7), kind=kind, number=7 if kind == "search" else None).label == label


def test_what_pruning_saved_is_the_epochs_not_run_at_the_trials_own_pace() -> None:
    assert ended(0, 0.5, "pruned", "pruned in epoch 2", epochs=2).saved == pytest.approx(8 * 0.25)
    for reason in ("time", "the loss is not finite in epoch 3", "it took longer than its trial_timeout of 1 s"):
        assert ended(0, 0.5, "pruned", reason, epochs=2).saved == 0
    assert ended(0, 0.5, "complete", epochs=2).saved == 0  # out of patience
    assert ended(0, None, "pruned", "pruned in epoch 2").saved == 0


def test_the_last_and_the_best() -> None:
    state = opened(Counts())
    trials = [ended(number, value) for number, value in enumerate([0.3, 0.5, 0.5, float("nan"), 0.2, 0.4, 0.6])]
    state.recall([*trials, ended(7, 0.9, "pruned"), ended(8, 0.9, "requeued"), ended(9, None, "failed")])
    assert [job.number for job in state.best] == [6, 1, 2, 5, 0, 4]
    assert [job.number for job in state.last] == [9, 7, 6, 5, 4, 3, 2, 1, 0]


def test_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    state = opened(Counts(complete=15))
    assert state.left is None
    state.recall(ended(number, 0.5, epochs=2) for number in range(15))
    state.job_started(job_of(15), WORKERS[0])
    feed(state, row(15, 1))
    # Two workers; trials had two epochs on average: one is left of this trial, and eight of four
    # more.
    assert state.left == pytest.approx(9 / 2 * 0.25)
    state.job_progress(job_of(15), StepProgress(uid_of(15), 0, 2, 30, 40))
    assert state.left == pytest.approx(8.25 / 2 * 0.25)
    state.study_closed(None)  # type: ignore[arg-type]
    assert state.left is None
    hasty = opened(Counts(complete=15), replace(PLAN, hours=0.01))
    assert hasty.left == pytest.approx(36.0)
    clock += 30
    assert hasty.left == pytest.approx(6.0)
    clock += 1000
    assert hasty.left == 0.0


def test_the_time_left_is_estimated_from_steps_before_the_first_epoch_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    state = opened(Counts(complete=18))
    for index, worker in enumerate(WORKERS):
        state.job_started(job_of(18 + index), worker)
    assert state.left is None
    clock += 100.0
    state.job_progress(job_of(18), StepProgress(uid_of(18), 0, 1, 10, 40))
    assert state.left == pytest.approx(400 * 3)  # the other one's three epochs, at 400 s each
    assert state.spent is None


def test_a_display_that_fails_does_not_end_the_run(searching: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug in the display")

    out = io.StringIO()
    monkeypatch.setattr("fer_tune.display.live.draw", broken)  # in the thread that draws
    monkeypatch.setattr(RunState, "epoch", broken)  # in the run itself
    options = RunOptions(engine="inline", devices="cpu", workers=1, wandb="disabled")
    state = RunState()
    view = LiveView(Console(file=out, force_terminal=True, width=200), state)
    outcome = run_sweeps(
        [obedient_sweep(2)], searching, options, Observers([state, view], searching.logs / "observers.log"), obedient
    )
    assert outcome.studies[0].counts.finished == 2
    assert "The live view could not be drawn. The run continues." in out.getvalue()
    assert "a bug in the display" in (searching.logs / "observers.log").read_text()


def test_a_run_and_its_database_show_the_same(searching: Settings) -> None:
    """Twice, the second time a study that is continued."""
    options = RunOptions(engine="inline", devices="cpu", workers=2, wandb="disabled")
    for trials in (5, 9):
        heard = RunState()
        view = LiveView(Console(quiet=True), heard, lambda state: recall(state, searching))
        run_sweeps(
            [obedient_sweep(trials)],
            searching,
            options,
            Observers([heard, view], searching.logs / "observers.log"),
            obedient,
        )
        with Store.of(searching) as store:
            read = StudyReader(store, store.studies.get("obedient")).read()
        for name in ("study", "family", "data", "objective", "budget", "epochs", "hours", "fixed", "unit"):
            assert getattr(read, name) == getattr(heard, name), name
        for state in ("complete", "pruned", "failed"):
            assert read.counts[state] == heard.counts[state]
        assert read.rise == [(pytest.approx(seconds), value) for seconds, value in heard.rise]
        assert (read.start, read.images) == (heard.start, heard.images)
        assert read.start is not None
        assert read.images > 0
        assert read.finished == trials
        assert read.counts["pruned"] > 0
        assert read.fixed == {"seconds", "die"}
        assert list(read.last) == list(heard.last)
        assert read.best == heard.best
        assert "by hand" in [job.name for job in read.best]
        assert read.spent == pytest.approx(heard.spent)
        assert read.costs.saved == pytest.approx(heard.costs.saved)
        assert read.costs.saved > 0
        assert read.remark.startswith("Not running.")
        assert read.workers == {}


def test_a_job_says_where_it_pauses_until_it_trains_to_its_end() -> None:
    state = opened(Counts())
    state.job_started(replace(job_of(7), until=1), WORKERS[0])
    assert state.running[0].rung == 1
    state.job_ended(job_of(7), end_of(7, 0.5, "paused"))
    assert [job.number for job in state.last] == [7]
    state.job_started(job_of(7, attempt=1), WORKERS[1])
    assert state.running[0].rung is None
    assert not state.last, "it runs again"


def test_the_mirrors_say_where_they_write() -> None:
    state = opened(Counts())
    state.mirror_opened("wandb", "offline files in storage/wandb")
    assert state.mirrors == {"wandb": "offline files in storage/wandb"}
    state.study_opened(replace(PLAN, study="other"), Counts(), WORKERS)
    assert state.mirrors == {}
