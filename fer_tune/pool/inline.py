"""A pool that trains in this process: for tests, debuggers and runs that must be repeatable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fer_tune.job import Job, JobEnd, StepProgress, Wish
from fer_tune.pool.port import (
    EndEvent,
    Event,
    LostEvent,
    Message,
    ProgressEvent,
    ReadyEvent,
    RowEvent,
    TrainerFactory,
    Trains,
    WorkerInfo,
    load_trainer,
)


@dataclass
class _Worker:
    trainer: Trains | None = None
    training: Iterator[Message] | None = None
    job: Job | None = None
    wish: Wish = Wish.CONTINUE


class InlinePool:
    """Workers within this process, one for each entry of `devices`.

    Each call of `events` lets one worker train one epoch; the workers take turns. The pool does not
    catch exceptions of the trainer. Such an exception is a bug, and a debugger should see it.
    """

    def __init__(self, devices: Sequence[str], trainer: TrainerFactory = load_trainer) -> None:
        self.workers = [WorkerInfo(index, device, None, can_hang=False) for index, device in enumerate(devices)]
        self._factory = trainer
        self._state = [_Worker() for _ in devices]
        self._turn = -1
        self._lost: list[Event] = []

    def idle(self) -> list[int]:
        return [i for i, worker in enumerate(self._state) if worker.trainer is not None and worker.training is None]

    def submit(self, worker: int, job: Job) -> None:
        state = self._state[worker]
        assert worker in self.idle(), "the worker is not idle"
        assert state.trainer is not None
        state.job, state.wish = job, Wish.CONTINUE
        state.training = state.trainer.train(job, lambda: state.wish)

    def stop_job(self, worker: int, keep: bool = False) -> None:
        state = self._state[worker]
        state.wish = max(state.wish, Wish.STOP_AND_KEEP if keep else Wish.STOP)

    def end_worker(self, worker: int, why: str) -> None:
        """Ends a worker, as the interface says. Here the worker is always between two epochs."""
        state = self._state[worker]
        self._lost.append(LostEvent(worker, state.job if state.training else None, why, ""))
        state.trainer = state.training = None

    def events(self, timeout: float) -> list[Event]:
        """Returns what happened, as the interface says. It never waits, because it trains."""
        if self._lost:
            lost, self._lost = self._lost, []
            return lost
        if started := self._start():
            return started
        training = [worker for worker, state in enumerate(self._state) if state.training is not None]
        if not training:
            return []
        self._turn = next((worker for worker in training if worker > self._turn), training[0])
        return [self._advance(self._turn)]

    def close(self, grace: float = 10) -> None:
        for state in self._state:
            state.training = None

    def _start(self) -> list[Event]:
        started: list[Event] = []
        for info, state in zip(self.workers, self._state, strict=True):
            if state.trainer is None:
                state.trainer = self._factory(info.device, None)
                started.append(ReadyEvent(info.index))
        return started

    def _advance(self, worker: int) -> Event:
        state = self._state[worker]
        assert state.training is not None
        message = next(state.training)
        if isinstance(message, JobEnd):
            state.training = None
            return EndEvent(worker, message)
        if isinstance(message, StepProgress):
            return ProgressEvent(worker, message)
        return RowEvent(worker, message)
