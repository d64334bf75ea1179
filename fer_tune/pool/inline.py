"""A pool that trains in this process: for tests, debuggers and runs that must be repeatable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fer_tune.job import Job, JobEnd, Wish
from fer_tune.pool.lanes import LaneSet
from fer_tune.pool.port import (
    Event,
    Lanes,
    LanesEvent,
    LostEvent,
    ReadyEvent,
    Slot,
    TrainerFactory,
    WorkerInfo,
    event_of,
    free_slots,
    in_turn,
    load_trainer,
)


@dataclass
class _Worker:
    info: WorkerInfo
    lanes: LaneSet | None = None
    jobs: dict[int, Job] = field(default_factory=dict)
    wishes: dict[int, Wish] = field(default_factory=dict)


class InlinePool:
    """Workers within this process, one for each entry of `devices`.

    Each call of `events` lets one worker train until a job of it has something to say; the workers
    take turns. The pool does not catch exceptions of the trainer. Such an exception is a bug, and a
    debugger should see it.
    """

    def __init__(self, devices: Sequence[str], trainer: TrainerFactory = load_trainer) -> None:
        self._factory = trainer
        self._workers = [
            _Worker(WorkerInfo(index, device, None, can_hang=False)) for index, device in enumerate(devices)
        ]
        self._use: tuple[Lanes, Path | None] = (1, None)
        self._turn = -1
        self._news: list[Event] = []

    @property
    def workers(self) -> list[WorkerInfo]:
        return [worker.info for worker in self._workers]

    def use_lanes(self, lanes: Lanes, remembered: Path | None = None) -> None:
        self._use = lanes, remembered
        for worker in self._workers:
            if worker.lanes is not None:
                worker.lanes.use(lanes, remembered)
        self._news += self._lanes()

    def idle(self) -> list[Slot]:
        ready = [worker for worker in self._workers if worker.lanes is not None]
        return in_turn(slot for worker in ready for slot in free_slots(worker.info, worker.jobs))

    def submit(self, slot: Slot, job: Job) -> None:
        assert slot in self.idle(), "the slot is not idle"
        worker = self._workers[slot.worker]
        assert worker.lanes is not None
        worker.jobs[slot.lane], worker.wishes[slot.lane] = job, Wish.CONTINUE
        worker.lanes.start(slot.lane, job, lambda: worker.wishes[slot.lane])

    def stop_job(self, slot: Slot, keep: bool = False) -> None:
        worker = self._workers[slot.worker]
        if slot.lane in worker.jobs:
            wish = Wish.STOP_AND_KEEP if keep else Wish.STOP
            worker.wishes[slot.lane] = max(worker.wishes[slot.lane], wish)

    def end_worker(self, worker: int, why: str) -> None:
        """Ends a worker, as the interface says. Here the worker is always between two turns."""
        ended = self._workers[worker]
        self._news.append(LostEvent(worker, tuple(ended.jobs.values()), why, ""))
        self._workers[worker] = _Worker(replace(ended.info, lanes=1))

    def events(self, timeout: float) -> list[Event]:
        """Returns what happened, as the interface says. It never waits, because it trains."""
        if self._news:
            news, self._news = self._news, []
            return news
        if changed := [*self._start(), *self._lanes()]:
            return changed
        training = [worker.info.index for worker in self._workers if worker.jobs]
        if not training:
            return []
        self._turn = next((worker for worker in training if worker > self._turn), training[0])
        return self._advance(self._workers[self._turn])

    def close(self, grace: float = 10) -> None:
        for worker in self._workers:
            worker.lanes = None
            worker.jobs.clear()

    def _start(self) -> list[Event]:
        started: list[Event] = []
        for worker in self._workers:
            if worker.lanes is None:
                worker.lanes = LaneSet(self._factory(worker.info.device, None))
                worker.lanes.use(*self._use)
                started.append(ReadyEvent(worker.info.index))
        return started

    def _lanes(self) -> list[Event]:
        """Returns the workers whose number of lanes has changed."""
        changed: list[Event] = []
        for worker in self._workers:
            if worker.lanes is not None and worker.lanes.lanes != worker.info.lanes:
                worker.info = replace(worker.info, lanes=worker.lanes.lanes)
                changed.append(LanesEvent(worker.info.index, worker.info.lanes))
        return changed

    def _advance(self, worker: _Worker) -> list[Event]:
        assert worker.lanes is not None
        while not (said := worker.lanes.turn()):
            pass
        for lane, message in said:
            if isinstance(message, JobEnd):
                del worker.jobs[lane]
        return [event_of(Slot(worker.info.index, lane), message) for lane, message in said]
