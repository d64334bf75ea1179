"""The captured work of a network on a GPU: its step and its evaluation, and how it is fed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from fer_tune.train.cuda_graphs import captured, warm_up
from fer_tune.train.lane import Lane

AHEAD = 0.1
"""Seconds of work that a GPU is given ahead: another lane's capture takes the thread that long."""
MOST_AHEAD = 48
"""Steps that a GPU is given ahead at most. 128 filled the driver's queue: a launch then waits, and
with it the thread of all lanes."""
LEAST, MOST = 4, 16
"""Steps that are given at once. A GPU has two chunks to do, and so waits for none."""

Run = Callable[[], None]


@dataclass
class Replays:
    """What was captured. Without a capture, everything runs eagerly.

    Attributes:
        pace: seconds of a step in the last epoch, beside the other lanes; 0 before that.
    """

    step: Run | None = None
    evaluation: Run | None = None
    pace: float = 0.0
    _full: bool = False
    _queued: deque[tuple[int, torch.cuda.Event]] = field(default_factory=deque)

    def capture(
        self, step: Run, evaluation: Run | None, rewind: Callable[[], object], lane: Lane, *, alone: bool, known: bool
    ) -> Iterator[None]:
        """Captures a step and an evaluation, and yields where another lane may have its turn.

        Args:
            evaluation: None if nothing is evaluated.
            rewind: is called before a step, so that it does not run past the end of a buffer.
            alone: whether no other lane trains.
            known: whether this process has captured such work before. If not, cuDNN measures its
                algorithms now. Other lanes first come to rest, so that it chooses as if alone.
        """
        quiet = alone or known
        yield from warm_up(step, lane.device, rewind, quiet, known)
        self.step = captured(step, lane, alone)
        if evaluation is not None:
            yield from warm_up(evaluation, lane.device, quiet=quiet, known=known)
            self.evaluation = captured(evaluation, lane, alone)

    def forget(self) -> None:
        """Forgets what was captured."""
        self.step = self.evaluation = None

    def feed(self, count: int, eager: Run, stream: torch.cuda.Stream) -> Iterator[int]:
        """Gives a GPU some steps, chunk by chunk, and yields how many it has done.

        It ends when the last step is given, which the GPU has not done by then.

        Args:
            eager: does one step that was not captured.
        """
        step, began = self.step or eager, time.perf_counter()
        self._queued.clear()
        given = done = 0
        while given < count:
            while self._queued and self._queued[0][1].query():  # type: ignore[no-untyped-call]
                done, _ = self._queued.popleft()
                self.pace = (time.perf_counter() - began) / done
            ahead = max(2 * LEAST, min(int(AHEAD / self.pace), MOST_AHEAD) if self.pace else 0)
            chunk = min(MOST, ahead // 2, ahead - (given - done), count - given)
            self._full = chunk < min(LEAST, count - given)
            if not self._full:
                for _ in range(chunk):
                    step()
                given += chunk
                self._queued.append((given, stream.record_event()))
            yield done

    def wait(self) -> None:
        """Waits until the GPU has done a chunk, if it has all that it may have."""
        if self._full and self._queued:
            self._queued[0][1].synchronize()
