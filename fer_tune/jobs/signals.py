"""Ctrl-C and SIGTERM: the first is a request, the second an end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Signals:
    """Turns the first SIGINT or SIGTERM into a request, and lets a second one raise
    KeyboardInterrupt.

    Attributes:
        requested: whether the run is to end.
        hurry: called with the request, between two instructions of whatever runs: it may set a
            value and no more.
    """

    def __init__(self, hurry: Callable[[], None] = lambda: None) -> None:
        self.requested = False
        self.hurry = hurry

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listens while the context lasts; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self.hurry()
