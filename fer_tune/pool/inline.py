"""A pool without processes: for tests, for a debugger, and for runs that must come out the same twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fer_tune.pool.port import EndEvent, Event, ReadyEvent, RowEvent, TrainerFactory, Trains, WorkerInfo, load_trainer
from fer_tune.trial import EpochRow, TrialEnd, TrialSpec


@dataclass
class _Worker:
    trainer: Trains | None = None
    training: Iterator[EpochRow | TrialEnd] | None = None
    stop: bool = False


class InlinePool:
    """One worker for each entry of `devices`; each call of `events` trains one epoch of one of them, in turn.

    An exception that leaves the trainer is a bug and is let through, to the debugger.
    """

    def __init__(self, devices: Sequence[str], trainer: TrainerFactory = load_trainer) -> None:
        self.workers = [WorkerInfo(index, device, None) for index, device in enumerate(devices)]
        self._factory = trainer
        self._state = [_Worker() for _ in devices]
        self._turn = -1

    def idle(self) -> list[int]:
        return [i for i, worker in enumerate(self._state) if worker.trainer is not None and worker.training is None]

    def submit(self, worker: int, spec: TrialSpec) -> None:
        state = self._state[worker]
        assert worker in self.idle(), "only an idle worker takes a trial"
        assert state.trainer is not None
        state.stop = False
        state.training = state.trainer.train(spec, lambda: state.stop)

    def stop_trial(self, worker: int) -> None:
        self._state[worker].stop = True

    def events(self, timeout: float) -> list[Event]:
        """As the port says, except that it never waits: it trains."""
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
        if isinstance(message, TrialEnd):
            state.training = None
            return EndEvent(worker, message)
        return RowEvent(worker, message)
