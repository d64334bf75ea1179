"""The lock of a study, which keeps two orchestrators out of it.

A lock file beside the database keeps out other processes, however they spell its path. If the
database is a server, a lock in the server keeps out other hosts too. When the process that holds
the lock dies, the lock is released.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING
from weakref import WeakSet

from fer_tune.errors import StorageError, StudyError
from fer_tune.settings import Settings
from fer_tune.store.connection import parse_url, shown
from fer_tune.store.holder import Holder
from fer_tune.store.serverlock import ServerLock

if TYPE_CHECKING:
    from fer_tune.store.store import Store

GLANCE = 0.5
"""Seconds to wait for a lock at most. A reader holds it for less time, to see who holds it."""


def lock_file(settings: Settings, url: str, study: str, kind: str = "") -> Path:
    """Returns the path of a study's lock file. Its name is valid for any study name.

    The file of an SQLite database is beside it, with links resolved. Its name depends on the name
    of the database and not on the path, which differs where a container mounts the folder. So all
    spellings of a database give one file, whatever storage folder they are used with.

    For a server the file is in the storage folder, and `ServerLock` keeps out other folders. The
    password is left out, because the study stays the same when somebody changes it.
    """
    database = parse_url(url)
    if database.get_backend_name() == "sqlite":
        file = Path(str(database.database)).resolve()
        folder, where = file.parent / settings.locks.name, file.name
    else:
        folder, where = settings.locks, shown(database)
    digest = hashlib.sha256(f"{study}\0{where}".encode()).hexdigest()[:12]
    return folder / f"{kind}{re.sub(r'[^A-Za-z0-9_-]+', '_', study)[:60]}-{digest}.lock"


_held: WeakSet[StudyLock] = WeakSet()
"""The locks of this process. A forked child gives them up, so that they end with their holder."""


def _give_up() -> None:
    for lock in list(_held):
        lock.forget()


os.register_at_fork(after_in_child=_give_up)


class StudyLock:
    """The lock that the process holds that runs a study.

    Use it as a context manager, or call `acquire` and `release`. It is an advisory lock of the
    operating system (flock) on a file; see `lock_file`. The file names the holder.

    The file is kept when the lock is released. If it were removed, two processes could lock two
    files of one name. Programs that Python starts do not inherit its file descriptors, and forked
    children close them. So no child that outlives the orchestrator holds the lock.
    """

    kind = ""
    """Prefix of the lock's name. Other locks of a study, such as the mirror's, have another one."""

    def __init__(self, settings: Settings, url: str, study: str) -> None:
        self.study = self._owner = study
        self.path = lock_file(settings, url, study, self.kind)
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
                f"The lock file {self.path} cannot be written: {error.strerror or error}.",
                "Make the storage folder writable.",
            ) from error
        try:
            if not _locked(file):
                raise self._refusal(file)
            if (elsewhere := self._server.acquire()) is not None:
                raise self._busy(elsewhere, "there")
            file.truncate(0)
            json.dump(asdict(Holder.this_process()) | {"study": self.study}, file)
            file.flush()
        except OSError as error:
            _close(file)
            raise StorageError(
                f"The lock file {self.path} cannot be locked: {error.strerror or error}.",
                "Use a file system that supports locks (flock), with free space.",
            ) from error
        except BaseException:
            file.close()
            raise
        self._file = file
        _held.add(self)
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
        _held.discard(self)

    def forget(self) -> None:
        """Closes the lock file in a forked child. The parent still holds the lock."""
        if self._file is not None:
            with open(os.devnull, "r+b") as nowhere:
                os.dup2(nowhere.fileno(), self._file.fileno())

    def holder(self) -> Holder | None:
        """Returns the living process that holds the lock file now, or None."""
        try:
            with self._opened() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return _read_holder(file)
        except OSError:
            pass
        return None

    def _opened(self) -> IO[str]:
        """Opens the lock file for a glance. A reader may not be allowed to write it."""
        try:
            return self.path.open("r+", encoding="utf-8")
        except PermissionError:
            return self.path.open("r", encoding="utf-8")

    def server_holder(self) -> str | None:
        """Returns the process, on any host, that holds the lock in a database server, or None."""
        return self._server.holder()

    def _refusal(self, file: IO[str]) -> StudyError:
        holder = _read_holder(file)
        who = f"{holder} (since {holder.since})" if holder else "another process"
        return self._busy(who, f"with `fer-tune stop --study {self._owner}`")

    def _busy(self, who: str, how: str) -> StudyError:
        """Returns the error for a lock that another process holds.

        Args:
            how: the process can be stopped, as the end of a sentence.
        """
        return StudyError(f"{self._what} by {who}.", f"Wait for it, or stop it {how}.")

    @property
    def _what(self) -> str:
        """What the process that holds the lock does, as the beginning of a sentence."""
        return f"The study {self.study} is being run"

    def __enter__(self) -> StudyLock:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class ConfirmLock(StudyLock):
    """The lock that the process holds that confirms trials of a study."""

    def __init__(self, settings: Settings, url: str, study: str) -> None:
        super().__init__(settings, url, confirm_lock(study))
        self._owner = study

    @property
    def _what(self) -> str:
        return f"Trials of the study {self._owner} are being confirmed"


def _close(file: IO[str]) -> None:
    """Closes a lock file. On a full disk, the text that it still has cannot be written."""
    with suppress(OSError):
        file.close()


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


def running(folder: Path) -> list[str]:
    """Returns the processes that hold a lock file in a folder, such as `process 123 (tiny)`."""
    found = []
    for path in sorted(folder.glob("*.lock")):
        with suppress(OSError), path.open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(f"{_read_holder(file) or 'a process'} ({path.name})")
    return found


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
