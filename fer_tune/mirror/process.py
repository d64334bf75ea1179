"""Starting the mirror, and ending it.

It runs in a session of its own, so that Ctrl-C in the terminal does not reach it, and it holds
the reading end of a pipe: when the writing end closes (on `stop`, or because the orchestrator died,
however that happened), it copies what is left and ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from fer_tune.mirror.mode import Mode, choose_mode
from fer_tune.settings import Settings

KILL_AFTER = 2.0
"""Seconds between asking a mirror that is late to end and ending it."""


class MirrorHandle:
    """A mirror that runs, or, in mode `disabled`, none; to the caller they are the same."""

    def __init__(self, process: subprocess.Popen[bytes] | None, log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def stop(self, timeout: float = 30.0) -> bool:
        """Lets the mirror copy what is left, and ends it after `timeout` seconds at the latest.

        Returns:
            Whether it had copied everything. If not, its cursors stand where it got to.
        """
        if self._process is None:
            return True
        assert self._process.stdin is not None
        with suppress(OSError):  # it ended by itself and the pipe is broken
            self._process.stdin.close()
        try:
            return self._process.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            self._end(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(KILL_AFTER)
            self._end(signal.SIGKILL)
            self._process.wait()
            return False

    def _end(self, number: signal.Signals) -> None:
        """Signals the whole session: wandb has a process of its own below the mirror's."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def start(settings: Settings, study: str, mode: Mode | None = None) -> MirrorHandle:
    """Starts the mirror of a study that exists in the database; returns at once.

    Args:
        mode: see `choose_mode`.

    Raises:
        OSError: the process or its log cannot be started.
    """
    log = settings.logs / f"mirror-{study}.log"
    mode = choose_mode(mode)
    if mode == "disabled":
        return MirrorHandle(None, log)
    log.parent.mkdir(parents=True, exist_ok=True)
    # The database's URL may hold a password: it goes by the environment, which other users cannot list.
    environment = dict(os.environ, FER_TUNE_DIR=str(settings.root), FER_TUNE_STORAGE=settings.url)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_tune.mirror", study, mode],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    return MirrorHandle(process, log)
