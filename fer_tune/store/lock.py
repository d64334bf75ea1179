"""The lock of a study, which keeps two orchestrators out of it.

A lock file keeps out other processes that use the same storage folder. If the database is a server,
a lock in the server keeps out other hosts too. When the process that holds the lock dies, the lock
is released.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

import psutil

from fer_tune.errors import StorageError, StudyError
from fer_tune.settings import Settings
from fer_tune.store.connection import parse_url, shown
from fer_tune.store.serverlock import ServerLock

if TYPE_CHECKING:
    from fer_tune.store.store import Store

GLANCE = 0.5
"""Seconds to wait for a lock at most. A reader holds it for less time, to see who holds it."""

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


def file_name(study: str, url: str) -> str:
    """Returns the name of a study's lock file, which is valid for any study name.

    The name depends on the database. Links in the path of an SQLite file are resolved, so that two
    paths of one database give one lock. The password is left out, because the study stays the same
    when somebody changes it.
    """
    database = parse_url(url)
    if database.get_backend_name() == "sqlite":
        database = database.set(database=str(Path(str(database.database)).resolve()))
    digest = hashlib.sha256(f"{study}\0{shown(database)}".encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', study)[:60]}-{digest}.lock"


class StudyLock:
    """The lock that the process holds that runs a study.

    Use it as a context manager, or call `acquire` and `release`. It is an advisory lock of the
    operating system (flock) on a file in `settings.locks`. The file names the holder.

    The file is kept when the lock is released. If it were removed, two processes could lock two
    files of one name. Programs that Python starts do not inherit its file descriptors, so a worker
    that outlives the orchestrator does not hold the lock. A forked child holds it as long as it
    lives.
    """

    kind = ""
    """Prefix of the lock's name. Other locks of a study, such as the mirror's, have another one."""

    def __init__(self, settings: Settings, url: str, study: str) -> None:
        self.study = study
        self.path: Path = settings.locks / f"{self.kind}{file_name(study, url)}"
        self._file: IO[str] | None = None
        self._server = ServerLock(parse_url(url), study, self.kind)

    def acquire(self) -> StudyLock:
        """Takes the lock, or fails at once.

        Raises:
            StudyError: another process runs the study. The message names it.
            StorageError: the lock file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("a+", encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"The lock file {self.path} cannot be written: {error.strerror}.", "Make the storage folder writable."
            ) from error
        if not _locked(file):
            with file:
                raise self._refusal(file)
        try:
            self._server.acquire()
        except BaseException:
            file.close()
            raise
        file.truncate(0)
        json.dump(asdict(Holder.this_process()) | {"study": self.study}, file)
        file.flush()
        self._file = file
        return self

    def keep(self) -> bool:
        """Makes sure that the lock is still held, and takes it again if a server lost it; see
        `ServerLock.keep`."""
        return self._server.keep()

    def release(self) -> None:
        """Releases the lock. Does nothing if it is not held."""
        self._server.release()
        if self._file is not None:
            with suppress(OSError), self._file:  # even if the disk is read-only by now, the lock is released
                self._file.truncate(0)
            self._file = None

    def holder(self) -> Holder | None:
        """Returns the living process that holds the lock file now, or None."""
        try:
            with self.path.open("r+", encoding="utf-8") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return _read_holder(file)
        except OSError:
            pass
        return None

    def server_holder(self) -> str | None:
        """Returns the process, on any host, that holds the lock in a database server, or None."""
        return self._server.holder()

    def _refusal(self, file: IO[str]) -> StudyError:
        holder = _read_holder(file)
        who = f"{holder} (since {holder.since})" if holder else "another process"
        return StudyError(
            f"The study {self.study} is being run by {who}.",
            f"Wait for it, stop it with `fer-tune stop --study {self.study}`, or give this run another study name.",
        )

    def __enter__(self) -> StudyLock:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _read_holder(file: IO[str]) -> Holder | None:
    """Returns what the holder wrote. Returns None if it has taken the lock but not yet written."""
    file.seek(0)
    try:
        written = json.loads(file.read())
        return Holder(
            int(written["pid"]), str(written["host"]), float(written["process_started"]), str(written["since"])
        )
    except (ValueError, KeyError, TypeError):
        return None


def final_lock(study: str, batch: str) -> str:
    """Returns the name under which a process locks the final fits of one request."""
    return f"{study} final {batch}"


def confirm_lock(study: str) -> str:
    """Returns the name under which a process locks the confirmations of a study."""
    return f"{study} confirm"


def is_run(store: Store, study: str) -> bool:
    """Returns whether a process runs the study now. The process may be on another host if the
    database is a server.

    This is the only rule for whether a run is alive. If no process runs the study, trials that the
    database calls running are interrupted.

    Args:
        study: name of the study, or for final fits the name that `final_lock` returns.
    """
    lock = StudyLock(Settings(store.root, store.url), store.url, study)
    return lock.holder() is not None or lock.server_holder() is not None


def _locked(file: IO[str]) -> bool:
    """Takes the lock for this process. Returns False if another process keeps it.

    A reader takes the lock for a moment, to see whether a process runs the study. So this function
    tries again for `GLANCE` seconds.
    """
    deadline = time.monotonic() + GLANCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
