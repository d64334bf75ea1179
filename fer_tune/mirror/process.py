"""The mirror's process as its starter sees it: start it, ask it to end, end it.

It runs in a session of its own, so that Ctrl-C in the terminal does not reach it. It holds the
reading end of a pipe. When the writing end closes, by `stop` or because the orchestrator died, the
mirror copies what is left and ends.
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

from fer_tune.errors import SettingsError, StudyError
from fer_tune.mirror.tracker import Jobs, Mode
from fer_tune.mirror.trackers import adapter
from fer_tune.settings import Settings
from fer_tune.store import StudyLock
from fer_tune.store.holder import Holder

GRACE = 10.0
"""Seconds that the mirror has to copy what is left when its study has ended."""

KILL_AFTER = 2.0
"""Seconds between asking a mirror that is late to end, and killing it."""

WANDB = "wandb"
"""The tracker that `--wandb` is about."""


class MirrorHandle:
    """A mirror's process. In mode `disabled` there is none, and to the caller this is the same."""

    def __init__(
        self, process: subprocess.Popen[bytes] | None, log: Path, settings: Settings, tracker: str, place: str = ""
    ) -> None:
        """
        Args:
            place: where the copy will be, in words; empty in mode `disabled`.
        """
        self._process, self._settings, self._tracker = process, settings, tracker
        self.log, self.place = log, place

    @property
    def pid(self) -> int | None:
        """The process, which is also the session of all processes below it;

        None in mode `disabled`.
        """
        return None if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def let_go(self) -> None:
        """Says that nothing more will come. The mirror copies what is left, and ends."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):  # it ended by itself, and the pipe is broken
                self._process.stdin.close()

    def stop(self, timeout: float | None = GRACE) -> bool:
        """Lets the mirror copy what is left, for `timeout` seconds at most, and ends it.

        Returns:
            Whether it had copied everything. If not, its cursors say how far it got.
        """
        if self._process is None:
            return True
        self.let_go()
        try:
            return self._process.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(KILL_AFTER)
            return False
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            adapter(self._tracker).clean_logs(self._settings, self.log)

    def _signal(self, number: signal.Signals) -> None:
        """Signals the mirror and the processes that it and the tracker's library started."""
        assert self._process is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def start(
    settings: Settings,
    study: str,
    mode: Mode | None = None,
    *,
    priority: Literal["low", "normal"] = "low",
    tracker: str = WANDB,
    jobs: Jobs = "allowed",
) -> MirrorHandle:
    """Starts the mirror of a study that is in the database; returns at once.

    Args:
        mode: None lets the tracker's adapter choose.
        priority: `low` lets every other process run first; `normal` is for a caller that waits.
        jobs: `all` also copies the jobs that ran with `--wandb disabled`.

    Raises:
        SettingsError: the tracker's package is not installed.
        OSError: the process or its log cannot be started.
    """
    to = adapter(tracker)
    log = settings.logs / f"mirror-{tracker}-{study}.log"
    mode = to.mode(mode)
    if mode == "disabled":
        return MirrorHandle(None, log, settings, tracker)
    if to.package and find_spec(to.package) is None:
        raise SettingsError(f"{to.package} is not installed.", to.install or f"pip install {to.package}")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_tune.mirror", study, tracker, mode, jobs, priority],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=_environment(settings, to.environment()),
            start_new_session=True,
        )
    return MirrorHandle(process, log, settings, tracker, to.place(settings, mode))


def _environment(settings: Settings, changes: dict[str, str | None]) -> dict[str, str]:
    """Returns the variables of the mirror's process.

    The database's URL may contain a password. Other users can list a process's arguments, but not
    its environment.
    """
    ours = {"FER_TUNE_DIR": str(settings.root), "FER_TUNE_STORAGE": settings.url}
    return {name: value for name, value in {**os.environ, **ours, **changes}.items() if value is not None}


class MirrorLock(StudyLock):
    """Held by the process that copies a study to a tracker. The run of the study has another lock.

    Two that copied one run would both send its next row.
    """

    def __init__(self, settings: Settings, study: str, tracker: str = WANDB) -> None:
        self.kind = f"mirror-{tracker}-"
        super().__init__(settings, settings.url, study)

    def acquire(self) -> StudyLock:
        """Takes the lock or refuses at once.

        Raises:
            StudyError: another process mirrors the study.
            StorageError: the lock file cannot be written.
        """
        try:
            return super().acquire()
        except StudyError as error:
            raise busy(self.study, self.holder()) from error


def busy(study: str, holder: Holder | None) -> StudyError:
    """Returns the error for a study that is being mirrored already."""
    who = str(holder) if holder else "another process"
    return StudyError(f"The study {study} is being mirrored by {who}.", "Wait until that process has ended.")
