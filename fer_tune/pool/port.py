"""The port: what every pool of workers can do, wherever its workers run.

A worker says that it is ready with a `ReadyEvent`. It is given one `Job`, and answers with one
`RowEvent` an epoch and, last, one `EndEvent`. Then it is idle and can be given the next. Of a
worker that dies, one `LostEvent` tells; a fresh worker with the same index replaces it, and is
ready in its turn. The pool moves messages and keeps workers alive. What to train, and what a lost
job means, is the runner's to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from fer_tune.job import EpochRow, Job, JobEnd, StepProgress

Message = StepProgress | EpochRow | JobEnd
"""What a worker says of its job."""


class Trains(Protocol):
    """What a worker runs: `train.loop.Trainer`, or a test's stand-in for it."""

    def train(self, job: Job, stop_requested: Callable[[], int], /) -> Iterator[Message]:
        """Yields a row an epoch and ends with one `JobEnd`; asks often, and cheaply, which `Wish`
        there is."""
        ...


TrainerFactory = Callable[[str, int | None], Trains]
"""Device and number of threads (None: as the process has them) to a trainer; importable, since it
crosses processes."""


def load_trainer(device: str, threads: int | None) -> Trains:
    """The real trainer. This call imports torch: some 2 s, which a pool spends in its workers."""
    from fer_tune.train.loop import Trainer

    return Trainer(device, threads)


@dataclass(frozen=True)
class WorkerInfo:
    """One worker.

    Attributes:
        index: counts from 0, and stays when the process behind it is replaced.
        pid: of its process on this machine, or None.
        can_hang: whether it can be silent while the pool listens, and be ended from outside.
    """

    index: int
    device: str
    pid: int | None
    can_hang: bool = True


@dataclass(frozen=True)
class ReadyEvent:
    """The worker has started and can be given a job."""

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
        job: that it was training, or None if it had none.
        reason: how it died, one line.
        log_tail: the last lines of its log.
    """

    worker: int
    job: Job | None
    reason: str
    log_tail: str


Event = ReadyEvent | ProgressEvent | RowEvent | EndEvent | LostEvent


class Pool(Protocol):
    """A fixed number of workers, each on one device, alive from job to job."""

    @property
    def workers(self) -> list[WorkerInfo]:
        """All workers, by index."""
        ...

    def idle(self) -> list[int]:
        """Indices of the workers that are ready and have no job."""
        ...

    def submit(self, worker: int, job: Job) -> None:
        """Gives an idle worker its job. Never blocks. If the worker has just died, an event says
        so."""
        ...

    def stop_job(self, worker: int, keep: bool = False) -> None:
        """Asks the worker to end its job soon (`JobEnd.status` is then `stopped`); does nothing if
        it has none.

        With `keep` the job finishes its epoch and leaves a checkpoint. A plain stop outweighs it,
        whichever came first.

        Never blocks. A job may still report a row, or complete, before it hears of it.
        """
        ...

    def end_worker(self, worker: int, why: str) -> None:
        """Ends a worker that does not answer; a `LostEvent` with that reason follows. Never
        blocks."""
        ...

    def events(self, timeout: float) -> list[Event]:
        """What happened since the last call, oldest first for each worker; waits `timeout` seconds
        at most.

        Raises:
            PoolError: a worker died five times in a row within a minute, or before it was ready.
        """
        ...

    def close(self, grace: float = 10) -> None:
        """Ends all workers, whatever they do; kills those still alive after `grace` seconds. Can be
        called twice."""
        ...
