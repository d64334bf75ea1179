"""The process that holds a lock, as the lock file describes it."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil

from fer_tune.errors import StudyError

START_TOLERANCE = 60.0
"""Seconds by which two readings of a process's start may differ, because somebody may set the
clock."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as it describes itself in the lock file.

    Attributes:
        process_started: when the process started, in seconds since 1970. It differs for another
            process with the same pid.
        since: when the lock was taken, in ISO format.
    """

    pid: int
    host: str
    process_started: float
    since: str

    @classmethod
    def this_process(cls) -> Holder:
        """Returns the description of this process."""
        started = psutil.Process().create_time()
        return cls(os.getpid(), socket.gethostname(), started, datetime.now(UTC).isoformat(timespec="seconds"))

    def is_here(self) -> bool:
        """Returns whether the holder runs on this host."""
        return self.host == socket.gethostname()

    def is_running(self) -> bool:
        """Returns whether the process with this pid on this host is the holder.

        If so, a signal to the pid cannot reach another process.
        """
        try:
            started = psutil.Process(self.pid).create_time()
        except (psutil.Error, ValueError):
            return False
        return self.is_here() and abs(started - self.process_started) <= START_TOLERANCE

    def ask_to_end(self, study: str) -> None:
        """Sends SIGTERM, which a run handles like one Ctrl-C.

        Args:
            study: name of the study, for the messages.

        Raises:
            StudyError: the process is on another host, is not visible, or belongs to another user.
        """
        if not self.is_here():
            raise StudyError(
                f"The study {study} is being run by {self}, not on this host.",
                f"Run `fer-tune stop --study {study}` on {self.host}.",
            )
        if not self.is_running():
            raise StudyError(
                f"The study {study} is being run by {self}, which is not visible from here.",
                "It may run in a container. Stop it there.",
            )
        try:
            os.kill(self.pid, signal.SIGTERM)
        except OSError as error:
            raise StudyError(
                f"The run of {study} ({self}) cannot be stopped: {error.strerror}.",
                "Stop it as the user who started it.",
            ) from error

    def __str__(self) -> str:
        return f"process {self.pid}" if self.is_here() else f"process {self.pid} on {self.host}"
