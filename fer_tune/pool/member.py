"""What a pool remembers of a worker, wherever its process runs, and does with all of them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from fer_tune.errors import PoolError
from fer_tune.job import Job, JobEnd, Wish
from fer_tune.pool.messages import Has, Ready, Said, StopJob, UseLanes
from fer_tune.pool.port import (
    Event,
    LanesEvent,
    LostEvent,
    ReadyEvent,
    Slot,
    WorkerInfo,
    event_of,
    free_slots,
    in_turn,
)

DEATHS = 5
"""The run stops after this many deaths of a worker within `DEATHS_WITHIN` seconds, if the worker
finished no job in between. It also stops after this many starts in a row that failed."""
DEATHS_WITHIN = 60.0
"""Seconds; see `DEATHS`."""
TOGETHER = 10.0
"""Seconds for which workers that are ready leave jobs to those that start for the first time."""


class PoolMember(ABC):
    """One worker of a pool: the jobs of its lanes, and how often its process died.

    Attributes:
        use: how many lanes its process was asked to have.
        ready: whether its process has started and can get jobs.
        lost: whether its process died and has no successor yet.
        jobs: the jobs in training, by lane.
        lanes: how many jobs it trains at the same time at present.
        why: why the pool ended its process; empty if the pool did not.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.use = UseLanes(1, None)
        self._deaths: list[float] = []
        self._failed_starts = 0
        self._new_until = time.monotonic() + TOGETHER
        self.reset()

    @property
    @abstractmethod
    def info(self) -> WorkerInfo:
        """The worker, as the runner sees it."""

    @property
    def is_new(self) -> bool:
        """Whether the worker is about to be ready for the first time."""
        return time.monotonic() < self._new_until

    @abstractmethod
    def send(self, message: object) -> None:
        """Sends a message to the worker's process, unless that has died."""

    @abstractmethod
    def kill(self, why: str) -> None:
        """Ends the worker's process at once, for a reason that `loss` gives."""

    def reset(self) -> None:
        """Forgets the last process, because a new one starts."""
        self.ready, self.lost = False, False
        self.jobs: dict[int, Job] = {}
        self.lanes = 1
        self.why = ""

    def use_lanes(self, message: UseLanes) -> None:
        """Sets the number of lanes, also of a process that replaces this one.

        Fewer lanes count at once, because the next job may come before the process has answered.
        More lanes count when it says that it has them.
        """
        self.use = message
        self.lanes = 1 if message.lanes == "auto" else min(self.lanes, message.lanes)
        self.send(message)

    def event(self, message: object) -> Event:
        """Notes a message of the worker, and returns it as the runner sees it."""
        if isinstance(message, Ready):
            self.ready, self._failed_starts, self._new_until = True, 0, 0.0
            return ReadyEvent(self.index)
        if isinstance(message, Has):
            given = self.use.lanes  # an answer to what it was asked before may be on its way
            self.lanes = message.lanes if given == "auto" else min(given, message.lanes)
            return LanesEvent(self.index, self.lanes)
        assert isinstance(message, Said), "the worker sends nothing else"
        if isinstance(message.message, JobEnd):
            del self.jobs[message.lane]
            self._deaths.clear()
        return event_of(Slot(self.index, message.lane), message.message)

    def loss(self, reason: str, log_tail: str, own: bool = True) -> LostEvent:
        """Notes that the worker's process died.

        Args:
            reason: how it died. If the pool ended it, `why` is the reason.
            own: whether the worker may be the cause. It is not if its node was lost.
        """
        if own:
            self._deaths.append(time.monotonic())
            self._failed_starts += not self.ready
        self.lost, self.ready, self._new_until = True, False, 0.0
        jobs, self.jobs = tuple(self.jobs.values()), {}
        return LostEvent(self.index, jobs, self.why or reason, log_tail)

    def refuse_hopeless(self, place: str, tail: str, hint: str) -> None:
        """Raises an error if the worker died too often.

        Args:
            place: the device of the worker, for the message.

        Raises:
            PoolError: it died five times in a row within a minute, or before it was ready.
        """
        often = len(self._deaths) >= DEATHS and self._deaths[-1] - self._deaths[-DEATHS] <= DEATHS_WITHIN
        if often or self._failed_starts >= DEATHS:
            raise PoolError(f"Worker {self.index} on {place} died {DEATHS} times in a row. {tail}", hint)


Member = TypeVar("Member", bound=PoolMember)


class MemberPool(Generic[Member]):
    """What a pool of such workers does wherever they run; see `Pool` for its methods."""

    _workers: list[Member]

    @property
    def workers(self) -> list[WorkerInfo]:
        return [worker.info for worker in self._workers]

    def idle(self) -> list[Slot]:
        ready = [worker for worker in self._workers if worker.ready]
        slots = in_turn(slot for worker in ready for slot in free_slots(worker.info, worker.jobs))
        if any(worker.is_new for worker in self._workers):
            # Else the worker that is ready first would get all jobs of a short list.
            return [slot for slot in slots if slot.lane == 0]
        return slots

    def stop_job(self, slot: Slot, keep: bool = False) -> None:
        worker = self._workers[slot.worker]
        if slot.lane in worker.jobs:
            worker.send(StopJob(slot.lane, Wish.STOP_AND_KEEP if keep else Wish.STOP))

    def end_worker(self, worker: int, why: str) -> None:
        self._workers[worker].kill(why)
