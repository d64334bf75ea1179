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

from fer_tune.job import EpochRow, StepProgress, Value, by_pruner, merged
from fer_tune.jobs import Ended, Observer, Plan, StudyOutcome
from fer_tune.pool.port import Slot

if TYPE_CHECKING:
    from fer_tune.job import Job, Kind
    from fer_tune.pool import WorkerInfo
    from fer_tune.study import Counts

KEPT = 20
"""How many of the last jobs, and of the best, are kept. A view shows as many of them as fit."""


@dataclass
class ShownJob:
    """A job as it is shown, running or ended.

    Attributes:
        label: its name for people, such as `trial 7`.
        number: of its trial, or the seed of a final fit.
        objective: name of the `EpochRow` field that its curve shows.
        epochs: that it trains if it is not stopped early.
        name: label of the start configuration that it came from, or None.
        rows: its epochs, each once.
        state: `running`, or how it ended.
        value: the objective with which it ended, or None.
        since: when its present epoch began, by the monotonic clock; None while it does not run.
        progress: how far it is within that epoch; None while that is not known.
    """

    label: str
    number: int
    objective: str
    epochs: int
    name: str | None = None
    params: dict[str, Value] = field(default_factory=dict)
    rows: list[EpochRow] = field(default_factory=list)
    state: str = "running"
    value: float | None = None
    reason: str = ""
    since: float | None = None
    progress: StepProgress | None = None

    @property
    def epoch(self) -> int:
        """The last epoch that it finished."""
        return self.rows[-1].epoch if self.rows else 0

    @property
    def position(self) -> float:
        """Finished epochs, and the finished part of the next one."""
        part = self.progress.step / self.progress.steps if self.progress and self.progress.steps else 0.0
        return self.epoch + min(1.0, part)

    @property
    def curve(self) -> list[float]:
        """The objective by epoch."""
        return [float(getattr(row, self.objective)) for row in list(self.rows)]

    @property
    def shown_value(self) -> float | None:
        """The objective: while it runs that of its last epoch, then the one with which it ended."""
        return self.curve[-1] if self.rows and self.state == "running" else self.value

    @property
    def seconds(self) -> float:
        """What its epochs took."""
        return sum(row.seconds for row in list(self.rows))

    @property
    def device_seconds(self) -> float:
        """The job's share of its device in `seconds`."""
        return sum(row.device_seconds for row in list(self.rows))

    @property
    def rate(self) -> float:
        """Images a second in its last epoch."""
        return self.rows[-1].images_per_second if self.rows else 0.0

    @property
    def saved(self) -> float:
        """Seconds of a device that pruning saved: the epochs that were not trained, at the job's
        own pace."""
        left = self.epochs - self.epoch
        return left * pruned_pace(self.state, self.reason, len(self.rows), self.device_seconds)

    def starts(self, since: float) -> None:
        """The job starts an epoch."""
        self.since, self.progress = since, None

    def ends(self, state: str, value: float | None, reason: str) -> None:
        """The job is over."""
        self.state, self.value, self.reason = state, value, reason
        self.since = self.progress = None


@dataclass
class ShownWorker:
    """A lane of a worker and the job that it trains, or None. Until the worker is `ready` it can
    train nothing."""

    device: str
    ready: bool = False
    job: ShownJob | None = None

    @property
    def doing(self) -> str:
        """What it does, in a word."""
        return "training" if self.job else "idle" if self.ready else "starting"


@dataclass
class Costs:
    """What jobs cost: their number, their epochs, and the seconds of these, each epoch once.

    Attributes:
        seconds: of devices. A device counts once, however many lanes it has.
        saved: seconds of devices that pruning saved.
        wall: what the epochs took, those of all lanes added up.
    """

    jobs: int = 0
    epochs: int = 0
    seconds: float = 0.0
    saved: float = 0.0
    wall: float = 0.0

    def add(self, job: ShownJob) -> None:
        """Adds a job."""
        self.include(len(job.rows), job.device_seconds, job.saved, job.seconds)

    def include(self, epochs: int, seconds: float, saved: float, wall: float) -> None:
        """Adds the figures of a job."""
        self.jobs += 1
        self.epochs += epochs
        self.seconds += seconds
        self.saved += saved
        self.wall += wall


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


def shown_job(job: Job) -> ShownJob:
    """Returns a job as it is shown before it has trained anything."""
    number = job.seed if job.number is None else job.number
    epochs = job.schedule if job.pauses else job.last_epoch
    return ShownJob(job.label, number, job.objective, epochs, job.name, dict(job.params))


def pruned_pace(state: str, reason: str, epochs: int, seconds: float) -> float:
    """Returns the seconds of an epoch of a job that the pruner stopped, and 0 for any other job."""
    return seconds / epochs if epochs and by_pruner(state, reason) else 0.0


def fixed_in(space: Mapping[str, Any]) -> frozenset[str]:
    """Returns the hyperparameters to which a space, as a sweep describes it, gives one value."""
    return frozenset(name for name, written in space.items() if not isinstance(written, dict))


def unit_of(devices: Iterable[str]) -> str:
    """Returns the unit of time on these devices: CPU, or GPU where one of them is a GPU."""
    return "GPU" if any(device != "cpu" for device in devices) else "CPU"
