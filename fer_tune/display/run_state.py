"""What a run shows at this moment: the study, its workers, its costs, and the trials worth a look.

A run feeds the state event by event. `watch` fills it from the database. The state does not know
how it is drawn.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fer_tune.display.shown import Costs, ShownJob, ShownWorker, shown_job
from fer_tune.job import EpochRow, StepProgress, merged
from fer_tune.jobs import Ended, Observer, Plan, StudyOutcome
from fer_tune.pool.port import Slot
from fer_tune.selection.statistics import standard_error

if TYPE_CHECKING:
    from fer_tune.job import Job, Kind
    from fer_tune.pool import WorkerInfo
    from fer_tune.study import Counts

KEPT = 30
"""How many of the last jobs, and of the best, are kept. A view shows as many of them as fit."""


@dataclass
class RunState(Observer):
    """A study that is run: its search, or its final fits.

    Attributes:
        budget, hours: where the run ends: finished jobs, and hours of wall time since `began`.
        epochs: of a job that is not stopped early.
        fixed: hyperparameters that are the same for all trials, which no view needs to show.
        unit: CPU or GPU, where the trials are trained.
        began, over: when the run of this study began and ended, by the monotonic clock. None means
            not known, or not yet.
        counts: jobs by state, those of earlier runs included.
        costs: of the jobs that have ended.
        workers: the lanes of all workers. A worker that trains nothing has its first one.
        last, best: jobs that ended last, the latest first; complete ones, the best first.
        rise: seconds of devices that were spent, and the best value, each time that it rose.
        start: the best value of a start configuration, or None while none is complete.
        images: validation images, or 0 if their number is not known.
        mirrors: where each tracker gets its copy, in words.
        remark: what else the user should know of the run, or nothing.
    """

    study: str = ""
    kind: Kind = "search"
    family: str = ""
    data: str = ""
    objective: str = "val_accuracy"
    budget: int = 0
    hours: float | None = None
    epochs: int = 0
    fixed: frozenset[str] = frozenset()
    unit: str = "CPU"
    began: float | None = None
    over: float | None = None
    counts: Counter[str] = field(default_factory=Counter)
    costs: Costs = field(default_factory=Costs)
    workers: dict[Slot, ShownWorker] = field(default_factory=dict)
    last: deque[ShownJob] = field(default_factory=lambda: deque(maxlen=KEPT))
    best: list[ShownJob] = field(default_factory=list)
    rise: list[tuple[float, float]] = field(default_factory=list)
    start: float | None = None
    images: int = 0
    mirrors: dict[str, str] = field(default_factory=dict)
    remark: str = ""
    unfinished: dict[str, ShownJob] = field(default_factory=dict)
    """Jobs that are not over, by uid, paused ones too. They outlive a lost worker."""

    # what follows from it ---------------------------------------------------------------------------------------

    @property
    def finished(self) -> int:
        """The jobs that the budget counts."""
        return sum(self.counts[state] for state in ("complete", "pruned", "failed", "paused"))

    @property
    def running(self) -> list[ShownJob]:
        """The jobs that workers train."""
        return [worker.job for worker in list(self.workers.values()) if worker.job]

    @property
    def error(self) -> float | None:
        """The standard error of the best value; None where the objective is not an accuracy."""
        known = self.best and self.objective == "val_accuracy"
        return standard_error(self.best[0].value, self.images) if known else None

    @property
    def rates(self) -> dict[str, float]:
        """Images a second of each device that trains, the sum over its lanes."""
        rates: Counter[str] = Counter()
        for worker in list(self.workers.values()):
            if worker.job:
                rates[worker.device] += worker.job.rate  # type: ignore[assignment]
        return dict(rates)

    @property
    def spent(self) -> float | None:
        """Seconds of devices, each epoch once; None while no epoch has ended."""
        costs = self._all_costs()
        return costs.seconds if costs.epochs else None

    @property
    def elapsed(self) -> float | None:
        """Seconds since the run of this study began, or those that it took."""
        if self.began is None:
            return None
        return (time.monotonic() if self.over is None else self.over) - self.began

    @property
    def left(self) -> float | None:
        """Seconds until the budget is met, or the hours are over; None while that is not known."""
        if self.over is not None or self.elapsed is None:
            return None
        ends = [] if self.hours is None else [3600 * self.hours - self.elapsed]
        if (pace := self._epoch_seconds()) is not None:
            ends.append(pace * self._epochs_left())
        return max(0.0, min(ends)) if ends else None

    def _epochs_left(self) -> float:
        """Epochs that the busiest worker still has to train.

        A job is expected to take as many epochs as those that ended took on average. One that has
        had more is expected to train its whole schedule.
        """
        known = replace(self.costs)
        for job in list(self.unfinished.values()):
            if job.state == "paused":
                known.add(job)
        usual = known.epochs / known.jobs if known.jobs else self.epochs
        rests = [(usual if job.position < usual else job.epochs) - job.position for job in self.running]
        queued = max(0, self.budget - self.finished - len(rests)) * usual
        workers = len({slot.worker for slot in list(self.workers)})
        costs = self._all_costs()
        slower = costs.wall / costs.seconds if costs.seconds else 1.0  # a job beside others, than alone
        return max((queued + sum(rests)) / max(1, workers), *(rest * slower for rest in rests), 0.0)

    def _epoch_seconds(self) -> float | None:
        """Returns how long an epoch has its device. Until the first has ended, its steps say so."""
        costs = self._all_costs()
        if costs.epochs:
            return costs.seconds / costs.epochs
        now = time.monotonic()
        paces = [(now - job.since) / job.position for job in self.running if job.since is not None and job.position]
        return max(paces, default=None)

    def _all_costs(self) -> Costs:
        costs = replace(self.costs)
        for job in list(self.unfinished.values()):
            costs.add(job)
        return costs

    # what happens -----------------------------------------------------------------------------------------------

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        vars(self).update(vars(RunState(workers=self.workers)))  # a run of several sweeps opens several studies
        self.study, self.kind, self.family, self.data = plan.study, plan.kind, plan.family, plan.data
        self.objective, self.budget, self.hours, self.epochs = plan.objective, plan.jobs, plan.hours, plan.epochs
        self.unit = unit_of(worker.device for worker in workers)
        self.began = time.monotonic()
        self.counts = Counter(
            complete=counts.complete, pruned=counts.pruned, failed=counts.failed, paused=counts.paused
        )
        for worker in workers:
            self.workers.setdefault(Slot(worker.index), ShownWorker(worker.device))

    def mirror_opened(self, tracker: str, place: str) -> None:
        self.mirrors[tracker] = place

    def worker_ready(self, worker: WorkerInfo) -> None:
        self.workers[Slot(worker.index)] = ShownWorker(worker.device, ready=True)

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        for slot in [slot for slot in self.workers if slot.worker == worker.index]:
            del self.workers[slot]
        self.workers[Slot(worker.index)] = ShownWorker(worker.device)

    def lanes_changed(self, worker: WorkerInfo) -> None:
        for slot, shown in list(self.workers.items()):
            if slot.worker == worker.index and slot.lane >= worker.lanes and shown.job is None:
                del self.workers[slot]

    def job_started(self, job: Job, worker: WorkerInfo, lane: int = 0) -> None:
        shown = self.unfinished.setdefault(job.uid, shown_job(job))
        if shown.state == "paused":
            self.counts["paused"] -= 1
            shown.state, shown.value = "running", None
            self.last = deque((one for one in self.last if one is not shown), KEPT)
        shown.rung = job.last_epoch if job.pauses else None
        shown.starts(time.monotonic())
        self.workers[Slot(worker.index, lane)] = ShownWorker(worker.device, ready=True, job=shown)

    def job_progress(self, job: Job, progress: StepProgress) -> None:
        if shown := self.unfinished.get(job.uid):
            shown.progress = progress

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        if shown := self.unfinished.get(job.uid):
            merged(shown.rows, row)
            shown.starts(time.monotonic())

    def job_ended(self, job: Job, ended: Ended) -> None:
        shown = self.unfinished.pop(job.uid, None) or shown_job(job)
        shown.ends(ended.state, ended.value, ended.reason)
        for worker in self.workers.values():
            if worker.job is shown:
                worker.job = None
        if ended.state != "requeued":
            self.counts[ended.state] += 1
        if ended.state == "paused":
            self.unfinished[job.uid] = shown
            self.last.appendleft(shown)
        else:
            self.recall([shown])

    def study_closed(self, outcome: StudyOutcome) -> None:
        self.over = time.monotonic()
        if self.counts["paused"]:  # the end of a study prunes its paused trials
            self.counts["paused"], self.counts["pruned"] = outcome.counts.paused, outcome.counts.pruned

    def recall(self, ended: Iterable[ShownJob]) -> None:
        """Keeps jobs that are counted already, in the order in which they ended."""
        for job in ended:
            if job.state == "requeued":  # a later run continues it, with these epochs
                continue
            if job in self.last:  # it was paused
                self.last.remove(job)
            self.costs.add(job)
            self.last.appendleft(job)
            if self.kind == "search" and job.state == "complete" and job.value and math.isfinite(job.value):
                self.best = sorted([*self.best, job], key=lambda one: (-(one.value or 0.0), one.number))[:KEPT]
                self.completed(job.value, job.name)

    def completed(self, value: float, name: str | None) -> None:
        """Keeps what a complete trial means for the best value. Its costs were added before.

        Args:
            name: label of the start configuration that it came from, or None.
        """
        if not self.rise or value > self.rise[-1][1]:
            self.rise.append((self.costs.seconds, value))
        if name is not None:
            self.start = max(value, self.start or 0.0)


def fixed_in(space: Mapping[str, Any]) -> frozenset[str]:
    """Returns the hyperparameters to which a space, as a sweep describes it, gives one value."""
    return frozenset(name for name, written in space.items() if not isinstance(written, dict))


def unit_of(devices: Iterable[str]) -> str:
    """Returns the unit of time on these devices: CPU, or GPU where one of them is a GPU."""
    return "GPU" if any(device != "cpu" for device in devices) else "CPU"
