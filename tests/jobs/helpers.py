"""Sweeps, an observer that records what happens, and functions that read the results of a run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fer_tune.job import EpochRow, Job
from fer_tune.jobs import Ended, Observer, Plan, RunOutcome, StudyOutcome
from fer_tune.pool import WorkerInfo
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.workers import RunOptions
from fer_tune.store import AttemptRecord, Store
from fer_tune.study import trials
from fer_tune.sweep.schema import Sweep, SweepLimits
from fer_tune.sweep.space import Fixed, Parameter
from tests.pool.trainers import obedient
from tests.searches import make_sweep

INLINE = RunOptions(engine="inline", devices="cpu", wandb="disabled")
LOCAL = RunOptions(engine="local", devices="cpu", workers=2, wandb="disabled")


@dataclass
class Notebook(Observer):
    """Records what happens. Calls `on_epoch` after each epoch."""

    on_epoch: Callable[[Job, EpochRow], None] | None = None
    notes: list[str] = field(default_factory=list)
    opened: list[tuple[str, int, list[int | None]]] = field(default_factory=list)
    started: list[tuple[str, int, int]] = field(default_factory=list)
    workers: list[WorkerInfo] = field(default_factory=list)
    rows: list[tuple[int, int, int]] = field(default_factory=list)
    replayed: int = 0
    ended: list[Ended] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    closed: list[StudyOutcome] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def study_opened(self, plan: Plan, counts: Any, workers: Sequence[WorkerInfo]) -> None:
        self.opened.append((plan.study, counts.finished, [worker.pid for worker in workers]))

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self.lost.append(reason)

    def job_started(self, job: Job, worker: WorkerInfo, lane: int = 0) -> None:
        self.started.append((job.study, number_of(job), job.attempt))
        self.workers.append(worker)

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        self.rows.append((number_of(job), row.attempt, row.epoch))
        self.replayed += replayed
        if self.on_epoch is not None:
            self.on_epoch(job, row)

    def job_ended(self, job: Job, ended: Ended) -> None:
        self.ended.append(ended)

    def study_closed(self, outcome: StudyOutcome) -> None:
        self.closed.append(outcome)

    def states(self) -> list[str]:
        return [ended.state for ended in sorted(self.ended, key=lambda ended: ended.number or 0)]


def number_of(job: Job) -> int:
    """Returns the number of a search job's trial."""
    assert job.number is not None
    return job.number


def rows_of(store: Store, study: str, number: int) -> list[EpochRow]:
    """Returns every recorded epoch of the job that has this trial number now."""
    job = store.jobs.find_trial(study, number)
    return store.epochs.all(study, job.uid) if job else []


def attempts_of(store: Store, study: str, number: int) -> list[AttemptRecord]:
    """Returns the attempts at the job that has this trial number now."""
    job = store.jobs.find_trial(study, number)
    return store.jobs.attempts(study, job.uid) if job else []


def run(sweep: Sweep, settings: Settings, options: RunOptions = INLINE) -> tuple[RunOutcome, Notebook]:
    watch = Notebook()
    return run_sweeps([sweep], settings, options, watch, obedient), watch


def epochs(settings: Settings, study: str, number: int) -> list[tuple[int, int]]:
    with Store.of(settings) as store:
        return [(row.attempt, row.epoch) for row in rows_of(store, study, number)]


def real_sweep(epochs: int) -> Sweep:
    """Returns a sweep of one trial of a small network, for the real trainer."""
    domains = {"lr": 0.01, "width": 8, "batch_size": 32}
    return replace(
        make_sweep(epochs=epochs, budget=1),
        space={name: Parameter(name, name, Fixed(value)) for name, value in domains.items()},
    )


def value_of(of: Settings) -> tuple[float | None, list[tuple[int, float]]]:
    """Returns the value of the study's last trial, and epoch and accuracy of its last attempt."""
    with Store.of(of) as store:
        last = trials(store, "s")[-1]
        rows = rows_of(store, "s", last.number)
        attempt = max(row.attempt for row in rows)
        return last.value, [(row.epoch, row.val_accuracy) for row in rows if row.attempt == attempt]


def bearing(sweep: Sweep, **limits: float) -> Sweep:
    """Returns the same sweep with other limits."""
    return replace(sweep, limits=SweepLimits(**limits))


def stop_at(epoch: int) -> Notebook:
    return Notebook(on_epoch=once(epoch, lambda: signal.raise_signal(signal.SIGINT)))


def once(epoch: int, act: Callable[[], None]) -> Callable[[Job, EpochRow], None]:
    done: list[bool] = []

    def watch(job: Job, row: EpochRow) -> None:
        if row.epoch == epoch and not done:
            done.append(True)
            act()

    return watch
