"""What there is to see of a run at this moment; it knows nothing of how it is drawn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from fer_tune.orchestrator import Ended, StudyOutcome, Watch

if TYPE_CHECKING:
    from fer_tune.pool import WorkerInfo
    from fer_tune.study import Counts
    from fer_tune.sweep.schema import Sweep
    from fer_tune.trial import EpochRow, TrialSpec

Doing = Literal["starting", "idle", "training"]


@dataclass
class Place:
    """A worker and what it does; `epoch` of `epochs` are finished, `value` is the last one's objective."""

    device: str
    doing: Doing = "starting"
    trial: int = 0
    name: str | None = None
    epoch: int = 0
    epochs: int = 0
    value: float | None = None
    best: float | None = None


@dataclass
class Board(Watch):
    """The study whose turn it is, its counts, its best trial, and its workers."""

    study: str = ""
    objective: str = ""
    budget: int = 0
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    pruned: int = 0
    failed: int = 0
    best: float | None = None
    best_trial: int | None = None
    places: dict[int, Place] = field(default_factory=dict)
    _at: dict[int, int] = field(default_factory=dict)
    """Which worker has which trial."""

    @property
    def finished(self) -> int:
        """What the budget counts."""
        return self.done + self.pruned + self.failed

    @property
    def running(self) -> int:
        """Trials that are being trained."""
        return sum(place.doing == "training" for place in list(self.places.values()))

    @property
    def elapsed(self) -> float:
        """Seconds since the study's turn began."""
        return time.monotonic() - self.began

    def study_opened(self, sweep: Sweep, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        self.study, self.objective, self.budget = sweep.study, sweep.objective, sweep.budget.trials
        self.done, self.pruned, self.failed = counts.complete, counts.pruned, counts.failed
        self.best = self.best_trial = None
        self.began = time.monotonic()
        for worker in workers:
            self.places.setdefault(worker.index, Place(worker.device))

    def worker_ready(self, worker: WorkerInfo) -> None:
        self.places[worker.index] = Place(worker.device, "idle")

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self.places[worker.index] = Place(worker.device)

    def trial_started(self, spec: TrialSpec, worker: WorkerInfo, name: str | None) -> None:
        self._at[spec.number] = worker.index
        self.places[worker.index] = Place(worker.device, "training", spec.number, name, epochs=spec.epochs)

    def epoch(self, spec: TrialSpec, row: EpochRow, value: float) -> None:
        place = self.places[self._at[spec.number]]
        place.epoch, place.value = row.epoch, value
        place.best = value if place.best is None else max(place.best, value)

    def trial_ended(self, spec: TrialSpec, ended: Ended) -> None:
        self.done += ended.state == "complete"
        self.pruned += ended.state == "pruned"
        self.failed += ended.state == "failed"
        if ended.state == "complete" and ended.value is not None and (self.best is None or ended.value > self.best):
            self.best, self.best_trial = ended.value, ended.number
        place = self.places.get(self._at.pop(spec.number, -1))
        if place is not None and place.doing == "training" and place.trial == spec.number:
            place.doing = "idle"

    def study_closed(self, outcome: StudyOutcome) -> None:
        self.best, self.best_trial = outcome.value, outcome.best
