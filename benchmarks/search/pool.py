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
class _Slot:
    """A worker.

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
    """Workers in virtual time, behind the interface of a pool.

    Attributes:
        slots: number of workers.
        slowness: how many times longer an epoch takes than alone on a device, because the workers
            share one.
        trained: seconds that all workers trained so far.
    """

    simulator: Simulator
    clock: VirtualClock
    slots: int = 1
    slowness: float = 1.0
    trained: float = 0.0
    workers: list[WorkerInfo] = field(init=False)

    def __post_init__(self) -> None:
        self.workers = [WorkerInfo(index, "simulated", None, can_hang=False) for index in range(self.slots)]
        self._slots = [_Slot() for _ in range(self.slots)]
        self._first: list[Event] = [ReadyEvent(index) for index in range(self.slots)]

    def use_lanes(self, lanes: Lanes, remembered: Path | None = None) -> None:
        """Does nothing: each worker has one lane."""

    def idle(self) -> list[Slot]:
        return [] if self._first else [Slot(index) for index, slot in enumerate(self._slots) if slot.job is None]

    def submit(self, slot: Slot, job: Job) -> None:
        worker = slot.worker
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
            self._slots[worker] = _Slot(job, training, now + overhead, replay=reached)
            if reached == 0:
                self._slots[worker].due += self._seconds(self._slots[worker], 1)

    def stop_job(self, where: Slot, keep: bool = False) -> None:
        slot = self._slots[where.worker]
        if slot.job is None or slot.end is not None:
            return
        slot.wish = max(slot.wish, Wish.STOP_AND_KEEP if keep else Wish.STOP)
        if slot.wish == Wish.STOP:
            self.trained -= max(0.0, slot.due - self.clock())
            self._ends(slot, "stopped", f"asked to stop in epoch {slot.epoch + 1}")
            slot.due = min(slot.due, self.clock())

    def end_worker(self, worker: int, why: str) -> None:
        slot = self._slots[worker]
        self._first += [LostEvent(worker, () if slot.job is None else (slot.job,), why, ""), ReadyEvent(worker)]
        self._slots[worker] = _Slot()

    def events(self, timeout: float) -> list[Event]:
        """Jumps to the next event, or by `timeout`. Returns what has happened by then."""
        if self._first:
            first, self._first = self._first, []
            return first
        with self.clock.excluded():
            now, due = self.clock(), min(slot.due for slot in self._slots)
            if due > now:
                self.clock.jump(min(timeout, due - now))
                now += min(timeout, due - now)
            happened: list[Event] = []
            while True:
                index = min(range(self.slots), key=lambda index: self._slots[index].due)
                if self._slots[index].due > now + 1e-9:
                    return happened
                happened.append(self._next(index))

    def close(self, grace: float = 10) -> None:
        self._slots = [_Slot() for _ in self._slots]

    # within -------------------------------------------------------------------------------------------

    def _next(self, index: int) -> Event:
        """Returns the next message of a worker, and says when the one after it is due."""
        slot = self._slots[index]
        assert slot.job is not None
        assert slot.training is not None
        epoch = slot.epoch + 1
        if slot.end is None and slot.training.diverges == epoch:
            self._ends(slot, "diverged", f"the loss is not finite in epoch {epoch}")
        if slot.end is not None:
            end, self._slots[index] = slot.end, _Slot()
            return EndEvent(Slot(index), end)
        row = self._row(slot, epoch)
        slot.epoch = epoch
        value = float(getattr(row, slot.job.objective))
        if value > slot.best:
            slot.best, slot.best_epoch = value, epoch
        self._after(slot)
        return RowEvent(Slot(index), row)

    def _after(self, slot: _Slot) -> None:
        """Decides what follows the epoch that a worker has just sent."""
        assert slot.job is not None
        epoch, job = slot.epoch, slot.job
        if job.patience and epoch - slot.best_epoch >= job.patience:
            self._ends(slot, "completed", f"no better {job.objective} since epoch {slot.best_epoch}")
        elif epoch >= job.last_epoch:
            if epoch < job.schedule:
                _keep(job, epoch)
            self._ends(slot, "completed")
        elif slot.wish == Wish.STOP_AND_KEEP:
            _keep(job, epoch)
            self._ends(slot, "stopped", f"asked to stop after epoch {epoch}")
        elif epoch >= slot.replay:
            slot.due += self._seconds(slot, epoch + 1)

    def _ends(self, slot: _Slot, status: str, reason: str = "") -> None:
        assert slot.job is not None
        slot.end = JobEnd(slot.job.uid, slot.job.attempt, status, reason)  # type: ignore[arg-type]

    def _seconds(self, slot: _Slot, epoch: int) -> float:
        """Returns how long an epoch takes."""
        assert slot.training is not None
        seconds = self.slowness * float(slot.training.rows[epoch - 1, SECONDS])
        self.trained += seconds
        return seconds

    def _row(self, slot: _Slot, epoch: int) -> EpochRow:
        assert slot.job is not None
        assert slot.training is not None
        found = dict(zip(MEASURES, map(float, slot.training.rows[epoch - 1]), strict=True))
        seconds, accuracy = self.slowness * found["seconds"], found["val_accuracy"]
        return EpochRow(
            job=slot.job.uid,
            attempt=slot.job.attempt,
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
