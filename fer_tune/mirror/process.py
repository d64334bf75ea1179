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
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from fer_tune.errors import FerTuneError
from fer_tune.mirror.mode import Mode, choose_mode
from fer_tune.mirror.secrets import scrub
from fer_tune.settings import Settings

GRACE = 10.0
"""Seconds that the mirror has, after what it mirrors has ended, to copy what is left."""

KILL_AFTER = 2.0
"""Seconds between asking a mirror that is late to end and ending it."""

NOT_OURS = ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_SWEEP_ID", "WANDB_MODE")
"""Variables that would tell wandb which run to write; the mirror knows."""


class MirrorHandle:
    """A mirror that runs, or, in mode `disabled`, none; to the caller they are the same."""

    def __init__(self, process: subprocess.Popen[bytes] | None, log: Path, wandb: Path) -> None:
        self._process = process
        self._wandb = wandb
        self.log = log

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def let_go(self) -> None:
        """Tells the mirror that nothing more will come; it copies what is left, and ends."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):  # it ended by itself and the pipe is broken
                self._process.stdin.close()

    def stop(self, timeout: float | None = GRACE) -> bool:
        """Lets the mirror copy what is left, and ends it after `timeout` seconds at the latest.

        Returns:
            Whether it had copied everything. If not, its cursors stand where it got to.
        """
        if self._process is None:
            return True
        self.let_go()
        try:
            return self._process.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            self._end(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(KILL_AFTER)
            return False
        finally:
            self._end(signal.SIGKILL)
            self._process.wait()
            scrub(self._wandb, self.log)

    def _end(self, number: signal.Signals) -> None:
        """Signals the whole session: wandb has a process of its own below the mirror's."""
        assert self._process is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def start(
    settings: Settings, study: str, mode: Mode | None = None, priority: Literal["low", "normal"] = "low"
) -> MirrorHandle:
    """Starts the mirror of a study that exists in the database; returns at once.

    Args:
        mode: see `choose_mode`.
        priority: `low` lets every other process go first; `normal` is for who waits for it.

    Raises:
        FerTuneError: wandb is not installed.
        OSError: the process or its log cannot be started.
    """
    log = settings.logs / f"mirror-{study}.log"
    mode = choose_mode(mode)
    if mode == "disabled":
        return MirrorHandle(None, log, settings.wandb)
    if find_spec("wandb") is None:
        raise FerTuneError("wandb is not installed.", "pip install wandb")
    log.parent.mkdir(parents=True, exist_ok=True)
    # The database's URL may hold a password: it goes by the environment, which other users cannot list.
    environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    environment |= {"FER_TUNE_DIR": str(settings.root), "FER_TUNE_STORAGE": settings.url, "WANDB_SILENT": "true"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_tune.mirror", study, mode, priority],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    return MirrorHandle(process, log, settings.wandb)
