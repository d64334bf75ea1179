"""The interface of a pool of workers, wherever its workers run.

A worker has one lane or several, and trains one job in each lane. A worker and a lane of it are a
`Slot`. The pool sends a `ReadyEvent` when a worker is ready. The runner then gives each idle slot
one `Job`. The pool sends one `RowEvent` for each epoch and one `EndEvent` at the end; then the slot
is idle and can get the next job, while the worker's other lanes continue. When a worker dies, the
pool sends one `LostEvent`, which names the jobs of all its lanes. It then starts another worker
with the same index, which becomes ready like the first.

The pool moves messages and keeps workers alive. The runner decides what to train, and what to do
about a lost job.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from fer_tune.job import Crowded, EpochRow, Job, JobEnd, StepProgress

Message = StepProgress | EpochRow | JobEnd
"""What a worker sends while it trains a job."""

Lanes = int | Literal["auto"]
"""A number of lanes. `auto` lets the worker measure how many are worth it."""


class Slot(NamedTuple):
    """A place for one job: a lane of a worker. Both count from 0.

    The number of a lane is an address and nothing else: all lanes of a worker are alike.
    """

    worker: int
    lane: int = 0


class Trains(Protocol):
    """A trainer, which a worker runs: `train.loop.Trainer`, or a replacement for it in a test."""

    def train(self, job: Job, stop_requested: Callable[[], int], /) -> Iterator[Message | Crowded | int]:
        """Trains a job. Yields one row for each epoch, and one `JobEnd` at the end.

        It may be called again before an earlier iterator has ended: each lane has one. Where
        another lane may have its turn, it yields the number of images that it trained since it last
        did so. That is 0 if the job only waits for its device.

        Args:
            stop_requested: returns the present `Wish`. It is cheap, and the trainer calls it often.
        """
        ...


@runtime_checkable
class Measures(Trains, Protocol):
    """A trainer that can say how many lanes are worth it."""

    @property
    def hardware(self) -> str:
        """The name of its device, the same for devices of one kind; `cpu` for each CPU."""
        ...

    def rates(self, job: Job, /) -> Generator[float | None, None, None]:
        """Yields the images a second that 1, 2, 4 and so on lanes train together.

        Each lane has the job's network. None comes where another job may have its turn. The rates
        end where memory does not suffice for more lanes.
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
        device: `cpu` or `cuda:N`, and `of NODE` if it is a device of another machine.
        pid: of the worker's process on this machine, or None.
        can_hang: whether the worker can be silent while the pool waits for it, and can be ended.
        lanes: how many jobs it trains at the same time at present.
        here: whether it runs on this machine, so that its load can be measured.
    """

    index: int
    device: str
    pid: int | None
    can_hang: bool = True
    lanes: int = 1
    here: bool = True


@dataclass(frozen=True)
class ReadyEvent:
    """The worker has started and can get a job."""

    worker: int


@dataclass(frozen=True)
class ProgressEvent:
    """The slot's job is within an epoch."""

    slot: Slot
    progress: StepProgress


@dataclass(frozen=True)
class RowEvent:
    """The slot's job finished an epoch."""

    slot: Slot
    row: EpochRow


@dataclass(frozen=True)
class EndEvent:
    """The slot's job ended; the slot is idle."""

    slot: Slot
    end: JobEnd


@dataclass(frozen=True)
class LanesEvent:
    """The worker has another number of lanes now. Jobs in lanes that it gave up continue."""

    worker: int
    lanes: int


@dataclass(frozen=True)
class LostEvent:
    """The worker died.

    Attributes:
        jobs: those that it was training, one for each busy lane.
        reason: how it died, one line.
        log_tail: the last lines of its log.
    """

    worker: int
    jobs: tuple[Job, ...]
    reason: str
    log_tail: str


Event = ReadyEvent | LanesEvent | ProgressEvent | RowEvent | EndEvent | LostEvent


class Pool(Protocol):
    """Workers, each on one device. A lane of a worker trains job after job.

    A pool may get more workers while it runs, and never fewer.
    """

    @property
    def workers(self) -> list[WorkerInfo]:
        """All workers, by index."""
        ...

    def use_lanes(self, lanes: Lanes, remembered: Path | None = None) -> None:
        """Sets how many jobs each worker trains at the same time. Running jobs are not disturbed.

        Fewer lanes count at once: `auto` is one until a worker says that it has more. A pool that
        was never told has one lane for each worker.

        Args:
            remembered: the file in which workers with `auto` lanes remember what they measured.
        """
        ...

    def idle(self) -> list[Slot]:
        """Slots that are ready and have no job. The workers come in turn: the first slot of each,
        then the second of each."""
        ...

    def submit(self, slot: Slot, job: Job) -> None:
        """Gives an idle slot a job. Never blocks. If the worker has just died, an event says so."""
        ...

    def stop_job(self, slot: Slot, keep: bool = False) -> None:
        """Asks the slot to end its job soon. Does nothing if the slot has no job.

        The job's end then has the status `stopped`. Never blocks: the job may still send a row, or
        complete, before it receives the request.

        Args:
            keep: the job first finishes its epoch and writes a checkpoint. A request without
                `keep` overrides one with it, in either order.
        """
        ...

    def end_worker(self, worker: int, why: str) -> None:
        """Ends a worker that does not respond, with all its jobs. Never blocks.

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


def free_slots(worker: WorkerInfo, busy: Collection[int]) -> list[Slot]:
    """Returns the slots of a worker that can get a job.

    Args:
        busy: the lanes that have one. They may be more than the worker's lanes at present.
    """
    free = [lane for lane in range(worker.lanes + len(busy)) if lane not in busy]
    return [Slot(worker.index, lane) for lane in free[: max(0, worker.lanes - len(busy))]]


def in_turn(slots: Iterable[Slot]) -> list[Slot]:
    """Returns slots in the order in which they get jobs, so that all workers are busy soon."""
    return sorted(slots, key=lambda slot: (slot.lane, slot.worker))


def event_of(slot: Slot, message: Message) -> ProgressEvent | RowEvent | EndEvent:
    """Returns the event that a slot's job has said this."""
    if isinstance(message, JobEnd):
        return EndEvent(slot, message)
    return ProgressEvent(slot, message) if isinstance(message, StepProgress) else RowEvent(slot, message)
