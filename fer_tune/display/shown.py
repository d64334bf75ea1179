"""What a view shows of jobs and of workers, and what jobs cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fer_tune.job import EpochRow, StepProgress, Value, by_pruner

if TYPE_CHECKING:
    from fer_tune.job import Job


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
        rung: the epoch after which it pauses; None if it trains to its end.
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
    rung: int | None = None

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


def shown_job(job: Job) -> ShownJob:
    """Returns a job as it is shown before it has trained anything."""
    number = job.seed if job.number is None else job.number
    epochs = job.schedule if job.pauses else job.last_epoch
    rung = job.last_epoch if job.pauses else None
    return ShownJob(job.label, number, job.objective, epochs, job.name, dict(job.params), rung=rung)


def pruned_pace(state: str, reason: str, epochs: int, seconds: float) -> float:
    """Returns the seconds of an epoch of a job that the pruner stopped, and 0 for any other job."""
    return seconds / epochs if epochs and by_pruner(state, reason) else 0.0
