"""Plays a rival: an ask-and-tell search that is not fer-tune's, on simulated slots.

The slots train one epoch after another, as `SimulatedPool` does: the same curves, noise, seconds
and clock. What differs is who proposes and who stops.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from benchmarks.search.clock import VirtualClock
from benchmarks.search.fitting import ACCURACY
from benchmarks.search.simulator import SECONDS, Simulator, Training
from benchmarks.search.trace import Trace
from fer_tune.job import Value
from fer_tune.sweep import Sweep


@dataclass(frozen=True)
class Task:
    """A training that a rival asks for.

    Attributes:
        key: identity of the training. A task with the key of an earlier one continues it.
        until: the last epoch to train.
        handle: whatever the rival needs to recognise the task.
    """

    key: Any
    params: dict[str, Value]
    until: int
    handle: Any = None


class Rival(Protocol):
    """A search. All its values are accuracies, which it maximises."""

    def next(self) -> Task | None:
        """Returns the next task, or None if it first waits for running ones."""
        ...

    def report(self, task: Task, epoch: int, value: float) -> bool:
        """Hears of an epoch. Returns whether to stop the task."""
        ...

    def ended(self, task: Task, value: float | None, stopped: bool) -> None:
        """Hears that a task has ended.

        Args:
            value: the best accuracy of its epochs, or None if it diverged.
            stopped: whether `report` stopped it.
        """
        ...


RivalFactory = Callable[[Sweep, int, int], Rival]
"""Makes a rival from a sweep, a seed and the number of slots."""


@dataclass
class _Busy:
    task: Task
    training: Training
    epoch: int
    best: float = -math.inf
    best_epoch: int = 0


@dataclass
class Play:
    """One search by a rival.

    Attributes:
        patience: epochs without a better accuracy after which a training ends by itself.
    """

    rival: Rival
    simulator: Simulator
    seed: int
    seconds: float
    slots: int = 1
    slowness: float = 1.0
    patience: int = 0
    clock: VirtualClock = field(default_factory=VirtualClock)

    def run(self) -> Trace:
        """Plays until the time is over, and returns what the search found."""
        self._trace = Trace()
        self._due: list[tuple[float, int, int]] = []
        self._busy: dict[int, _Busy] = {}
        self._left: dict[Any, _Busy] = {}  # trainings that may be continued, by key
        self._count = 0
        while self.clock() < self.seconds:
            self._fill()
            if not self._due:
                raise RuntimeError("The rival has no task for any of the idle slots.")
            due, _, slot = heapq.heappop(self._due)
            self.clock.jump(due - self.clock())
            if self.clock() < self.seconds:
                self._epoch(slot, due)
        self._trace.own_seconds = self.clock.own_seconds
        return self._trace

    def _fill(self) -> None:
        for slot in range(self.slots):
            if slot not in self._busy:
                task = self.rival.next()
                if task is None:
                    return
                with self.clock.excluded():
                    self._start(slot, task)

    def _start(self, slot: int, task: Task) -> None:
        before = self._left.pop(task.key, None)
        if before is None:
            self._trace.jobs += 1
            training = self.simulator.train(task.params, 1_000_003 * self.seed + self._trace.jobs)
            before = _Busy(task, training, 0)
        before.task = task
        self._busy[slot] = before
        self._push(slot, self.clock() + self.slowness * before.training.overhead)

    def _push(self, slot: int, now: float) -> None:
        """Says when the slot's next epoch is due."""
        busy = self._busy[slot]
        self._count += 1
        due = now + self.slowness * float(busy.training.rows[min(busy.epoch, self.simulator.epochs - 1), SECONDS])
        heapq.heappush(self._due, (due if busy.epoch < busy.task.until else now, self._count, slot))

    def _epoch(self, slot: int, due: float) -> None:
        busy = self._busy[slot]
        if busy.epoch >= busy.task.until:  # a continued training that was there already
            return self._end(slot, busy.best, False)
        busy.epoch += 1
        if busy.training.diverges == busy.epoch:
            return self._end(slot, None, False)
        value = float(busy.training.rows[busy.epoch - 1, ACCURACY])
        if value > busy.best:
            busy.best, busy.best_epoch = value, busy.epoch
        with self.clock.excluded():
            self._trace.saw(self.simulator, self.clock(), busy.task.params, value)
        if self.rival.report(busy.task, busy.epoch, value):
            return self._end(slot, busy.best, True)
        tired = bool(self.patience) and busy.epoch - busy.best_epoch >= self.patience
        if tired or busy.epoch >= busy.task.until:
            return self._end(slot, busy.best, False)
        return self._push(slot, due)

    def _end(self, slot: int, value: float | None, stopped: bool) -> None:
        busy = self._busy.pop(slot)
        if value is not None:
            self._left[busy.task.key] = busy
        self.rival.ended(busy.task, value, stopped)
