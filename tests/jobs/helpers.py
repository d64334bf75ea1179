"""Runs for the tests of this room: sweeps, an observer that keeps what it hears, and what a run left."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fer_tune.job import EpochRow, Job
from fer_tune.jobs import Ended, Observer, RunOutcome, StudyOutcome
from fer_tune.pool import WorkerInfo
from fer_tune.settings import Settings
from fer_tune.sources.run import RunOptions, run_sweeps
from fer_tune.store import Store
from fer_tune.study import trials
from fer_tune.sweep.schema import Limits, Sweep
from fer_tune.sweep.space import Fixed, Parameter
from tests.pool.trainers import obedient
from tests.searches import make_sweep

INLINE = RunOptions(engine="inline", devices="cpu", wandb="disabled")
LOCAL = RunOptions(engine="local", devices="cpu", workers=2, wandb="disabled")


@dataclass
class Notebook(Observer):
    """Keeps what it is told; `on_epoch` may act in between."""

    on_epoch: Callable[[Job, EpochRow], None] | None = None
    notes: list[str] = field(default_factory=list)
    opened: list[tuple[str, int, list[int | None]]] = field(default_factory=list)
    started: list[tuple[str, int, int]] = field(default_factory=list)
    workers: list[WorkerInfo] = field(default_factory=list)
    rows: list[tuple[int, int, int]] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    closed: list[StudyOutcome] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def study_opened(self, sweep: Sweep, counts: Any, workers: Sequence[WorkerInfo]) -> None:
        self.opened.append((sweep.study, counts.finished, [worker.pid for worker in workers]))

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self.lost.append(reason)

    def trial_started(self, spec: Job, worker: WorkerInfo, name: str | None) -> None:
        self.started.append((spec.study, spec.number, spec.attempt))
        self.workers.append(worker)

    def epoch(self, spec: Job, row: EpochRow, value: float) -> None:
        self.rows.append((row.number, row.attempt, row.epoch))
        if self.on_epoch is not None:
            self.on_epoch(spec, row)

    def trial_ended(self, spec: Job, ended: Ended) -> None:
        self.ended.append(ended)

    def study_closed(self, outcome: StudyOutcome) -> None:
        self.closed.append(outcome)

    def states(self) -> list[str]:
        return [ended.state for ended in sorted(self.ended, key=lambda ended: ended.number)]


def run(sweep: Sweep, settings: Settings, options: RunOptions = INLINE) -> tuple[RunOutcome, Notebook]:
    watch = Notebook()
    return run_sweeps([sweep], settings, options, watch, obedient), watch


def epochs(settings: Settings, study: str, number: int) -> list[tuple[int, int]]:
    with Store.of(settings) as store:
        return [(row.attempt, row.epoch) for row in store.epochs(study, number)]


def real_sweep(epochs: int) -> Sweep:
    """One trial of a small network on the real trainer."""
    domains = {"lr": 0.01, "width": 8, "batch_size": 32}
    return replace(
        make_sweep(epochs=epochs, budget=1),
        space={name: Parameter(name, name, Fixed(value)) for name, value in domains.items()},
    )


def value_of(of: Settings) -> tuple[float | None, list[tuple[int, float]]]:
    """The study's value, and epoch and accuracy of each row of the last attempt of its last trial."""
    with Store.of(of) as store:
        last = trials(store, "s")[-1]
        rows = store.epochs("s", last.number)
        attempt = max(row.attempt for row in rows)
        return last.value, [(row.epoch, row.val_accuracy) for row in rows if row.attempt == attempt]


def bearing(sweep: Sweep, **limits: float) -> Sweep:
    """The same with other limits."""
    return replace(sweep, limits=Limits(**limits))


def stop_at(epoch: int) -> Notebook:
    return Notebook(on_epoch=once(epoch, lambda: signal.raise_signal(signal.SIGINT)))


def once(epoch: int, act: Callable[[], None]) -> Callable[[Job, EpochRow], None]:
    done: list[bool] = []

    def watch(spec: Job, row: EpochRow) -> None:
        if row.epoch == epoch and not done:
            done.append(True)
            act()

    return watch
