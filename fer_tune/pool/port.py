"""What every pool of workers can do, wherever its workers run.

A worker is ready (told by a `ReadyEvent`), is given one `Job`, answers with one
`RowEvent` an epoch and, last, one `EndEvent`; then it is idle and can be given the next.
A worker that dies is told by one `LostEvent` and replaced by a fresh one under the same
index, which tells `ReadyEvent` in its turn. The pool moves messages and keeps workers
alive; what to train, and what a lost trial means, is the orchestrator's to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from fer_tune.job import EpochRow, Job, JobEnd, StepProgress


class Trains(Protocol):
    """What a worker runs: `train.loop.Trainer`, or a test's stand-in for it."""

    def train(self, spec: Job, stop_requested: Callable[[], int], /) -> Iterator[StepProgress | EpochRow | JobEnd]:
        """Yields a row an epoch and ends with one `JobEnd`; asks often, and cheaply, what `Wish` there is."""
        ...


TrainerFactory = Callable[[str, int | None], Trains]
"""Device and number of threads (None: as the process has them) to a trainer; importable, since it crosses processes."""


def load_trainer(device: str, threads: int | None) -> Trains:
    """The real trainer. This call imports torch: some 2 s, which a pool spends in its workers."""
    from fer_tune.train.loop import Trainer

    return Trainer(device, threads)


@dataclass(frozen=True)
class WorkerInfo:
    """One worker: `index` counts from 0 and stays when the process behind it is replaced; `pid` is None inline."""

    index: int
    device: str
    pid: int | None


@dataclass(frozen=True)
class ReadyEvent:
    """The worker has started and can be given a trial."""

    worker: int


@dataclass(frozen=True)
class RowEvent:
    """The worker's trial finished an epoch."""

    worker: int
    row: EpochRow


@dataclass(frozen=True)
class EndEvent:
    """The worker's trial ended; the worker is idle."""

    worker: int
    end: JobEnd


@dataclass(frozen=True)
class LostEvent:
    """The worker died.

    Attributes:
        spec: the trial that it was training, or None if it had none.
        reason: how it died, one line.
        log_tail: the last lines of its log.
    """

    worker: int
    spec: Job | None
    reason: str
    log_tail: str


Event = ReadyEvent | RowEvent | EndEvent | LostEvent


class Pool(Protocol):
    """A fixed number of workers, each on one device, alive from trial to trial."""

    @property
    def workers(self) -> list[WorkerInfo]:
        """All workers, by index."""
        ...

    def idle(self) -> list[int]:
        """Indices of the workers that are ready and have no trial."""
        ...

    def submit(self, worker: int, spec: Job) -> None:
        """Gives an idle worker its trial. Never blocks; that the worker has just died is an event, not an error."""
        ...

    def stop_trial(self, worker: int, keep: bool = False) -> None:
        """Asks the worker to end its trial soon (`JobEnd.status` is then `stopped`); does nothing if it has none.

        With `keep` the trial leaves a checkpoint of its last whole epoch.

        Never blocks. A trial may still report a row, or complete, before it hears of it.
        """
        ...

    def end_worker(self, worker: int, why: str) -> None:
        """Ends a worker that does not answer any more; a `LostEvent` with that reason follows. Never blocks."""
        ...

    def events(self, timeout: float) -> list[Event]:
        """What happened since the last call, oldest first for each worker; waits `timeout` seconds at most.

        Raises:
            PoolError: a worker died five times in a row within a minute, or before it was ready.
        """
        ...

    def close(self, grace: float = 10) -> None:
        """Ends all workers, whatever they do; kills those still alive after `grace` seconds. Can be called twice."""
        ...
