"""A pool whose workers train nothing: a simulator says what each epoch gives and how long it takes.

Time is virtual: `events` jumps to the next event. A job that left a checkpoint continues after it,
with the same curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.search.clock import VirtualClock
from benchmarks.search.curves import MEASURES
from benchmarks.search.simulator import SECONDS, Simulator, Training
from fer_tune.errors import TrainingError
from fer_tune.job import EpochRow, Job, JobEnd, Wish
from fer_tune.pool import EndEvent, Event, Lanes, LostEvent, ReadyEvent, RowEvent, Slot, WorkerInfo

IMAGES = 20_096
"""Training images of an epoch, for the rates that a study records."""


@dataclass
class _Lane:
    """A lane of the worker.

    Attributes:
        job: that it trains, or None.
        due: when it sends its next message.
        epoch: the last one that it sent.
        replay: the last epoch of the checkpoint. Rows up to there take no time.
        best, best_epoch: of the objective, for the job's patience.
        end: the end of its job, if that is the next message.
    """

    job: Job | None = None
    training: Training | None = None
    due: float = math.inf
    epoch: int = 0
    replay: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    wish: Wish = Wish.CONTINUE
    end: JobEnd | None = None


@dataclass
class SimulatedPool:
    """One worker in virtual time, behind the interface of a pool.

    Attributes:
        slots: number of its lanes.
        slowness: how many times longer an epoch takes than alone on the device.
        trained: seconds that all lanes trained so far.
    """

    simulator: Simulator
    clock: VirtualClock
    slots: int = 1
    slowness: float = 1.0
    trained: float = 0.0
    workers: list[WorkerInfo] = field(init=False)

    def __post_init__(self) -> None:
        self.workers = [WorkerInfo(0, "simulated", None, can_hang=False, lanes=self.slots)]
        self._lanes = [_Lane() for _ in range(self.slots)]
        self._first: list[Event] = [ReadyEvent(0)]

    def use_lanes(self, lanes: Lanes, remembered: Path | None = None) -> None:
        """Does nothing: the lanes are given."""

    def idle(self) -> list[Slot]:
        return [] if self._first else [Slot(0, index) for index, lane in enumerate(self._lanes) if lane.job is None]

    def submit(self, slot: Slot, job: Job) -> None:
        if job.schedule != self.simulator.epochs:
            raise TrainingError(
                f"The curves of {self.simulator.family} have {self.simulator.epochs} epochs, not {job.schedule}.",
                f"Use --set budget.epochs={self.simulator.epochs}.",
            )
        now = self.clock()
        with self.clock.excluded():
            training = self.simulator.train(job.params, job.seed)
            reached = _checkpoint(job)
            overhead = self.slowness * training.overhead
            self.trained += overhead
            lane = self._lanes[slot.lane] = _Lane(job, training, now + overhead, replay=reached)
            if reached == 0:
                lane.due += self._seconds(lane, 1)

    def stop_job(self, slot: Slot, keep: bool = False) -> None:
        lane = self._lanes[slot.lane]
        if lane.job is None or lane.end is not None:
            return
        lane.wish = max(lane.wish, Wish.STOP_AND_KEEP if keep else Wish.STOP)
        if lane.wish == Wish.STOP:
            self.trained -= max(0.0, lane.due - self.clock())
            self._ends(lane, "stopped", f"asked to stop in epoch {lane.epoch + 1}")
            lane.due = min(lane.due, self.clock())

    def end_worker(self, worker: int, why: str) -> None:
        jobs = tuple(lane.job for lane in self._lanes if lane.job is not None)
        self._first += [LostEvent(worker, jobs, why, ""), ReadyEvent(worker)]
        self._lanes = [_Lane() for _ in self._lanes]

    def events(self, timeout: float) -> list[Event]:
        """Jumps to the next event, or by `timeout`. Returns what has happened by then."""
        if self._first:
            first, self._first = self._first, []
            return first
        with self.clock.excluded():
            now, due = self.clock(), min(lane.due for lane in self._lanes)
            if due > now:
                self.clock.jump(min(timeout, due - now))
                now += min(timeout, due - now)
            happened: list[Event] = []
            while True:
                index = min(range(self.slots), key=lambda index: self._lanes[index].due)
                if self._lanes[index].due > now + 1e-9:
                    return happened
                happened.append(self._next(index))

    def close(self, grace: float = 10) -> None:
        self._lanes = [_Lane() for _ in self._lanes]

    # within -------------------------------------------------------------------------------------------

    def _next(self, index: int) -> Event:
        """Returns the next message of a lane, and says when the one after it is due."""
        lane = self._lanes[index]
        assert lane.job is not None
        assert lane.training is not None
        epoch = lane.epoch + 1
        if lane.end is None and lane.training.diverges == epoch:
            self._ends(lane, "diverged", f"the loss is not finite in epoch {epoch}")
        if lane.end is not None:
            end, self._lanes[index] = lane.end, _Lane()
            return EndEvent(Slot(0, index), end)
        row = self._row(lane, epoch)
        lane.epoch = epoch
        value = float(getattr(row, lane.job.objective))
        if value > lane.best:
            lane.best, lane.best_epoch = value, epoch
        self._after(lane)
        return RowEvent(Slot(0, index), row)

    def _after(self, lane: _Lane) -> None:
        """Decides what follows the epoch that a lane has just sent."""
        assert lane.job is not None
        epoch, job = lane.epoch, lane.job
        if job.patience and epoch - lane.best_epoch >= job.patience:
            self._ends(lane, "completed", f"no better {job.objective} since epoch {lane.best_epoch}")
        elif epoch >= job.last_epoch:
            if job.pauses:
                _keep(job, epoch)
            self._ends(lane, "paused" if job.pauses else "completed")
        elif lane.wish == Wish.STOP_AND_KEEP:
            _keep(job, epoch)
            self._ends(lane, "stopped", f"asked to stop after epoch {epoch}")
        elif epoch >= lane.replay:
            lane.due += self._seconds(lane, epoch + 1)

    def _ends(self, lane: _Lane, status: str, reason: str = "") -> None:
        assert lane.job is not None
        lane.end = JobEnd(lane.job.uid, lane.job.attempt, status, reason)  # type: ignore[arg-type]

    def _seconds(self, lane: _Lane, epoch: int) -> float:
        """Returns how long an epoch takes."""
        assert lane.training is not None
        seconds = self.slowness * float(lane.training.rows[epoch - 1, SECONDS])
        self.trained += seconds
        return seconds

    def _row(self, lane: _Lane, epoch: int) -> EpochRow:
        assert lane.job is not None
        assert lane.training is not None
        found = dict(zip(MEASURES, map(float, lane.training.rows[epoch - 1]), strict=True))
        seconds, accuracy = self.slowness * found["seconds"], found["val_accuracy"]
        return EpochRow(
            job=lane.job.uid,
            attempt=lane.job.attempt,
            epoch=epoch,
            train_loss=found["train_loss"],
            train_accuracy=found["train_accuracy"],
            val_loss=found["val_loss"],
            val_accuracy=accuracy,
            val_macro_f1=accuracy,
            val_balanced_accuracy=accuracy,
            recall=(accuracy,) * 7,
            lr=0.0,
            seconds=seconds,
            device_seconds=seconds / self.slots,
            images_per_second=IMAGES / seconds,
        )


def _keep(job: Job, epoch: int) -> None:
    """Leaves a checkpoint, which is the number of the epoch."""
    if job.checkpoint is not None:
        job.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        job.checkpoint.write_text(str(epoch), encoding="utf-8")


def _checkpoint(job: Job) -> int:
    """Returns the epoch of a job's checkpoint; 0 without one."""
    if job.checkpoint is None or not job.checkpoint.exists():
        return 0
    return int(job.checkpoint.read_text(encoding="utf-8"))
