"""The interface of a pool of workers, wherever its workers run.

The pool sends a `ReadyEvent` when a worker is ready. The runner then gives the worker one `Job`.
The pool sends one `RowEvent` for each epoch and one `EndEvent` at the end; then the worker is idle
and can get the next job. When a worker dies, the pool sends one `LostEvent`. It then starts another
worker with the same index, which becomes ready like the first.

The pool moves messages and keeps workers alive. The runner decides what to train, and what to do
about a lost job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from fer_tune.job import EpochRow, Job, JobEnd, StepProgress

Message = StepProgress | EpochRow | JobEnd
"""What a worker sends while it trains a job."""


class Trains(Protocol):
    """A trainer, which a worker runs: `train.loop.Trainer`, or a replacement for it in a test."""

    def train(self, job: Job, stop_requested: Callable[[], int], /) -> Iterator[Message]:
        """Trains a job. Yields one row for each epoch, and one `JobEnd` at the end.

        Args:
            stop_requested: returns the present `Wish`. It is cheap, and the trainer calls it often.
        """
        ...


TrainerFactory = Callable[[str, int | None], Trains]
"""Makes a trainer from a device and a number of threads; None leaves the threads as they are.

It must be importable by name, because it is sent to another process.
"""


def load_trainer(device: str, threads: int | None) -> Trains:
    """Returns the real trainer. The call imports torch, which takes about 2 s."""
    from fer_tune.train.loop import Trainer

    return Trainer(device, threads)


@dataclass(frozen=True)
class WorkerInfo:
    """One worker.

    Attributes:
        index: counts from 0. It stays the same when the worker's process is replaced.
        device: `cpu` or `cuda:N`.
        pid: of the worker's process on this machine, or None.
        can_hang: whether the worker can be silent while the pool waits for it, and can be ended.
    """

    index: int
    device: str
    pid: int | None
    can_hang: bool = True


@dataclass(frozen=True)
class ReadyEvent:
    """The worker has started and can get a job."""

    worker: int


@dataclass(frozen=True)
class ProgressEvent:
    """The worker's job is within an epoch."""

    worker: int
    progress: StepProgress


@dataclass(frozen=True)
class RowEvent:
    """The worker's job finished an epoch."""

    worker: int
    row: EpochRow


@dataclass(frozen=True)
class EndEvent:
    """The worker's job ended; the worker is idle."""

    worker: int
    end: JobEnd


@dataclass(frozen=True)
class LostEvent:
    """The worker died.

    Attributes:
        job: the job that it was training, or None.
        reason: how it died, one line.
        log_tail: the last lines of its log.
    """

    worker: int
    job: Job | None
    reason: str
    log_tail: str


Event = ReadyEvent | ProgressEvent | RowEvent | EndEvent | LostEvent


class Pool(Protocol):
    """A fixed number of workers, each on one device. A worker trains one job after another."""

    @property
    def workers(self) -> list[WorkerInfo]:
        """All workers, by index."""
        ...

    def idle(self) -> list[int]:
        """Indices of the workers that are ready and have no job."""
        ...

    def submit(self, worker: int, job: Job) -> None:
        """Gives an idle worker a job. Never blocks. If the worker has just died, an event says
        so."""
        ...

    def stop_job(self, worker: int, keep: bool = False) -> None:
        """Asks the worker to end its job soon. Does nothing if the worker has no job.

        The job's end then has the status `stopped`. Never blocks: the job may still send a row, or
        complete, before it receives the request.

        Args:
            keep: the job first finishes its epoch and writes a checkpoint. A request without
                `keep` overrides one with it, in either order.
        """
        ...

    def end_worker(self, worker: int, why: str) -> None:
        """Ends a worker that does not respond. Never blocks.

        Args:
            why: the reason in the `LostEvent` that follows.
        """
        ...

    def events(self, timeout: float) -> list[Event]:
        """Returns what happened since the last call, the oldest first for each worker.

        Args:
            timeout: seconds to wait, at most, until something happens.

        Raises:
            PoolError: a worker died five times in a row within a minute, or before it was ready.
        """
        ...

    def close(self, grace: float = 10) -> None:
        """Ends all workers, also busy ones. May be called twice.

        Args:
            grace: seconds that workers have to end before they are killed.
        """
        ...
