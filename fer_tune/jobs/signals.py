"""Ctrl-C and SIGTERM: the first asks the run to end, the second ends it at once."""

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
        requested: whether the run was asked to end.
        hurry: called at the first signal. It may interrupt any code, so it must do no more than
            set a value.
    """

    def __init__(self, hurry: Callable[[], None] = lambda: None) -> None:
        self.requested = False
        self.hurry = hurry

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handles the two signals while the context lasts. Does nothing outside the main thread,
        because Python allows signal handlers only there."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self.hurry()
