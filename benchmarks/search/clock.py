"""A clock that jumps over the time in which simulated workers train."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class VirtualClock:
    """The time of a simulated run, in seconds.

    It is what the simulated workers took, plus the processor time of this process. So a slow
    orchestrator delays its simulated workers as it would delay real ones.

    Args:
        own: whether to count the processor time. Without it, the same run gives the same times
            again.
    """

    def __init__(self, own: bool = True) -> None:
        self._own = own
        self._jumped = 0.0
        self._began = time.process_time()
        self._excluded = 0.0

    def __call__(self) -> float:
        """Returns the present time."""
        return self._jumped + self.own_seconds

    @property
    def own_seconds(self) -> float:
        """Processor time so far that counts."""
        return time.process_time() - self._began - self._excluded if self._own else 0.0

    def jump(self, seconds: float) -> None:
        """Lets time pass."""
        self._jumped += max(0.0, seconds)

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Does not count the processor time of the context: it is the simulation's own."""
        before = time.process_time()
        try:
            yield
        finally:
            self._excluded += time.process_time() - before
