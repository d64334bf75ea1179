"""The captured work of an engine on a GPU: single steps, steps in groups, and the evaluation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from fer_tune.train.cuda_graphs import captured, warm_up
from fer_tune.train.lane import Lane

GROUP = 4
"""Steps that a GPU replays with one launch, where so many are left."""
CHUNK = 16
"""Steps that a GPU is given at once: some 2 to 50 ms of work."""
QUEUED = 8
"""Chunks that a GPU has to do at most: enough for it while an engine of another lane is built."""

Run = Callable[[], None]


@dataclass
class Replays:
    """What was captured. Without a capture, everything runs eagerly."""

    step: Run | None = None
    group: Run | None = None
    evaluation: Run | None = None

    def capture(
        self, step: Run, evaluation: Run | None, rewind: Callable[[], object], lane: Lane, *, alone: bool, quiet: bool
    ) -> Iterator[None]:
        """Captures a step and an evaluation, and yields where another lane may have its turn.

        Args:
            evaluation: None if nothing is evaluated.
            rewind: is called before a step, so that it does not run past the end of a buffer.
            alone: whether no other lane trains.
            quiet: see `cuda_graphs.warm_up`.
        """

        def several() -> None:
            for _ in range(GROUP):
                step()

        yield from warm_up(step, lane.device, rewind, quiet)
        self.step = captured(step, lane, alone)
        yield
        self.group = captured(several, lane, alone)
        if evaluation is not None:
            yield from warm_up(evaluation, lane.device, quiet=quiet)
            self.evaluation = captured(evaluation, lane, alone)

    def forget(self) -> None:
        """Forgets what was captured."""
        self.step = self.group = self.evaluation = None

    def steps(self, count: int, eager: Run) -> None:
        """Replays some steps, or does them.

        Args:
            eager: does one step.
        """
        groups = count // GROUP if self.group is not None else 0
        for _ in range(groups):
            self.group()  # type: ignore[misc]
        for _ in range(count - groups * GROUP):
            (self.step or eager)()

    def feed(self, count: int, eager: Run, stream: torch.cuda.Stream) -> Iterator[int]:
        """Gives a GPU some steps, chunk by chunk, and yields how many it has done.

        It ends when the last step is given, which the GPU has not done by then.
        """
        queued: deque[tuple[int, torch.cuda.Event]] = deque()
        given = done = 0
        while given < count:
            while queued and queued[0][1].query():  # type: ignore[no-untyped-call]
                done, _ = queued.popleft()
            if len(queued) < QUEUED:
                chunk = min(CHUNK, count - given)
                self.steps(chunk, eager)
                given += chunk
                queued.append((given, stream.record_event()))
            yield done
