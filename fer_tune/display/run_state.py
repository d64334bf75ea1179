"""What there is to see of a study's turn at this moment; it knows nothing of how it is drawn.

A run tells it event by event; `watch` fills one from the database.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from fer_tune.job import by_pruner
from fer_tune.jobs import Ended, Observer, Plan, StudyOutcome

if TYPE_CHECKING:
    from fer_tune.job import EpochRow, Job
    from fer_tune.pool import WorkerInfo
    from fer_tune.study import Counts

Doing = Literal["starting", "idle", "training"]

SHOWN = 5
"""Trials among the last, and among the best."""


class Point(NamedTuple):
    """An epoch on a learning curve: its objective, and the seconds that it took."""

    epoch: int
    value: float
    seconds: float


@dataclass(frozen=True)
class Finished:
    """A trial that ended.

    Attributes:
        value: the best epoch's objective, or the last one's if it did not complete; None if there is none.
        epochs: of its schedule; `curve` ends where it was stopped.
        name: its label in the sweep's `start`.
    """

    number: int
    state: str
    value: float | None
    epochs: int
    curve: tuple[Point, ...] = ()
    name: str | None = None
    reason: str = ""

    @property
    def epoch(self) -> int:
        """The last epoch that it finished."""
        return self.curve[-1].epoch if self.curve else 0

    @property
    def seconds(self) -> float:
        """What these epochs took."""
        return sum(point.seconds for point in self.curve)

    @property
    def saved(self) -> float:
        """Seconds that pruning saved: the epochs that were not trained, at this trial's own pace."""
        if not by_pruner(self.state, self.reason) or not self.curve:
            return 0.0
        return max(0, self.epochs - self.epoch) * self.seconds / len(self.curve)


@dataclass
class Place:
    """A worker and what it does; `epoch` of `epochs` are finished, `rate` is the last one's images per second."""

    device: str
    doing: Doing = "starting"
    trial: int = 0
    name: str | None = None
    epochs: int = 0
    curve: list[Point] = field(default_factory=list)
    rate: float | None = None

    @property
    def epoch(self) -> int:
        """The last epoch that its trial finished."""
        return self.curve[-1].epoch if self.curve else 0

    @property
    def value(self) -> float | None:
        """That epoch's objective."""
        return self.curve[-1].value if self.curve else None

    @property
    def seconds(self) -> float:
        """What that epoch took."""
        return self.curve[-1].seconds if self.curve else 0.0


@dataclass
class RunState(Observer):
    """A study in its turn: its counts, its costs, its workers, and the trials worth a look.

    Attributes:
        budget, hours: where it ends: trials, and hours of wall time since `began`.
        epochs: of a trial that is not stopped.
        began, over: when its turn began and ended, in seconds of the monotonic clock.
        spent, saved: seconds of training, summed over the workers, and those that pruning saved.
        last, top: the trials that ended last, the latest first, and the best complete ones, the best first.
        remark: what else there is to say, or nothing.
    """

    study: str = ""
    family: str = ""
    data: str = ""
    objective: str = ""
    budget: int = 0
    epochs: int = 0
    hours: float | None = None
    began: float = field(default_factory=time.monotonic)
    over: float | None = None
    done: int = 0
    pruned: int = 0
    failed: int = 0
    spent: float = 0.0
    saved: float = 0.0
    last: deque[Finished] = field(default_factory=lambda: deque(maxlen=SHOWN))
    top: list[Finished] = field(default_factory=list)
    places: dict[int, Place] = field(default_factory=dict)
    remark: str = ""
    trained: int = 0
    """Epochs of this turn."""
    first: float | None = None
    """When the turn's first trial started, by the same clock."""
    _ended: int = 0
    _epochs: int = 0
    """Trials that ended, and the epochs they had."""
    _at: dict[str, int] = field(default_factory=dict)
    """Which worker has which trial."""
    _curves: dict[str, list[Point]] = field(default_factory=dict)
    """Of the trials that are not over, which may change their worker."""

    # what follows from it ---------------------------------------------------------------------------------------

    @property
    def finished(self) -> int:
        """What the budget counts."""
        return self.done + self.pruned + self.failed

    @property
    def training(self) -> list[Place]:
        """The workers that have a trial."""
        return [place for place in list(self.places.values()) if place.doing == "training"]

    @property
    def running(self) -> int:
        """Trials that are being trained."""
        return len(self.training)

    @property
    def elapsed(self) -> float:
        """Seconds since the study's turn began, or that it took."""
        return (time.monotonic() if self.over is None else self.over) - self.began

    @property
    def left(self) -> float | None:
        """Seconds until the budget is met at this turn's pace, or the hours are over; None while there is no pace.

        The pace is epochs a second, all workers together. A trial to come is as long as those that ended were on
        average, so that pruning is counted in; so is one that runs, or, once it has outlived that, its whole schedule.
        """
        if self.over is not None:
            return None
        ends = [] if self.hours is None else [3600 * self.hours - self.elapsed]
        if self.first is not None and self.trained:
            pace = self.trained / max(1e-9, time.monotonic() - self.first)
            usual = self._epochs / self._ended if self._ended else self.epochs
            training = self.training
            rests = [(usual if place.epoch < usual else place.epochs) - place.epoch for place in training]
            todo = max(0, self.budget - self.finished - len(training)) * usual + sum(rests)
            longest = max((rest * place.seconds for rest, place in zip(rests, training, strict=True)), default=0.0)
            ends.append(max(todo / pace, longest))  # the last trials have the workers' help no more
        return max(0.0, min(ends)) if ends else None

    @property
    def best(self) -> Finished | None:
        """The best complete trial."""
        return self.top[0] if self.top else None

    # what happens -----------------------------------------------------------------------------------------------

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        self.study, self.family, self.data, self.objective = plan.study, plan.family, plan.data, plan.objective
        self.budget, self.epochs, self.hours = plan.jobs, plan.epochs, plan.hours
        self.done, self.pruned, self.failed = counts.complete, counts.pruned, counts.failed
        for worker in workers:
            self.places.setdefault(worker.index, Place(worker.device))

    def recall(self, trials: Sequence[Finished], spent: float) -> None:
        """Takes in trials of earlier turns, in the order in which they ended, which are counted already."""
        self.spent += spent
        for trial in trials:
            self._keep(trial)

    def add(self, trial: Finished) -> None:
        """Counts a trial that ended, and keeps what is to be seen of it."""
        self.done += trial.state == "complete"
        self.pruned += trial.state == "pruned"
        self.failed += trial.state == "failed"
        self._keep(trial)

    def _keep(self, trial: Finished) -> None:
        if trial.state == "requeued":  # it goes on under another number
            return
        self.saved += trial.saved
        self._ended += 1
        self._epochs += len(trial.curve)
        self.last.appendleft(trial)
        if trial.state == "complete" and trial.value is not None and math.isfinite(trial.value):
            self.top = sorted([*self.top, trial], key=lambda one: (-(one.value or 0.0), one.number))[:SHOWN]

    def worker_ready(self, worker: WorkerInfo) -> None:
        self.places[worker.index] = Place(worker.device, "idle")

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self.places[worker.index] = Place(worker.device)

    def job_started(self, job: Job, worker: WorkerInfo) -> None:
        self.first = time.monotonic() if self.first is None else self.first
        self._at[job.uid] = worker.index
        curve = self._curves.setdefault(job.uid, [])
        self.places[worker.index] = Place(worker.device, "training", job.number or 0, job.name, job.last_epoch, curve)

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        place = self.places[self._at[job.uid]]
        while place.curve and place.curve[-1].epoch >= row.epoch:  # trained again, by another attempt
            place.curve.pop()
        place.curve.append(Point(row.epoch, value, row.seconds))
        place.rate = row.images_per_second
        self.spent += row.seconds
        self.trained += 1

    def job_ended(self, job: Job, ended: Ended) -> None:
        place = self.places.get(self._at.pop(job.uid, -1))
        mine = place is not None and place.doing == "training" and place.trial == (job.number or 0)
        name = place.name if place is not None and mine else None
        curve = tuple(self._curves.pop(job.uid, ()))
        self.add(Finished(ended.number or 0, ended.state, ended.value, job.schedule, curve, name, ended.reason))
        if place is not None and mine:
            place.doing = "idle"

    def study_closed(self, outcome: StudyOutcome) -> None:
        self.over = time.monotonic()
