"""One orchestrator for each study: a lock that its process's death releases, however it dies.

A file keeps out other processes of this storage folder; where the database is a server, it keeps out other hosts too.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from fer_tune.errors import StorageError, StudyError
from fer_tune.settings import Settings
from fer_tune.store.connection import parse_url, shown
from fer_tune.store.serverlock import ServerLock, held_on_server

if TYPE_CHECKING:
    from fer_tune.store.store import Store


def file_name(study: str, url: str) -> str:
    """The lock's file name: readable, safe for any study name, different for each study of each database.

    The password takes no part: one who changes it runs the same study, and a file's name is no place for its hash.
    """
    digest = hashlib.sha256(f"{study}\0{shown(parse_url(url))}".encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', study)[:60]}-{digest}.lock"


class StudyLock:
    """Held by the process that runs a study.

    An advisory lock of the operating system (flock) on a file in `settings.locks`, which names the holder for the
    refusal. The file stays when the lock is released: removing it would let two processes lock two files of one name.
    Python's file descriptors are not inherited by programs that are started, so a worker that outlives the
    orchestrator does not hold the lock; a forked child would, for as long as it lives.

    Use it as a context manager, or `acquire` and `release`; an object that is let go of lets go of the lock.
    """

    kind = ""
    """Prefix of the lock's name, for locks on something else of a study."""

    def __init__(self, settings: Settings, url: str, study: str) -> None:
        self.study = study
        self.path: Path = settings.locks / f"{self.kind}{file_name(study, url)}"
        self._file: IO[str] | None = None
        self._server = ServerLock(parse_url(url), study, self.kind)

    def acquire(self) -> StudyLock:
        """Takes the lock or refuses at once.

        Raises:
            StudyError: another process runs the study; names its process id.
            StorageError: the lock file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("a+", encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"The lock file {self.path} cannot be written: {error.strerror}.", "Make the storage folder writable."
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            with file:
                raise self._refusal(file) from error
        try:
            self._server.acquire()
        except BaseException:
            file.close()
            raise
        file.truncate(0)
        json.dump({"pid": os.getpid(), "started": datetime.now(UTC).isoformat(), "study": self.study}, file)
        file.flush()
        self._file = file
        return self

    def keep(self) -> bool:
        """Makes sure that the lock is still held, and takes again what a server lost; see `ServerLock.keep`."""
        return self._server.keep()

    def release(self) -> None:
        """Gives the lock back; nothing happens if it is not held."""
        self._server.release()
        if self._file is not None:
            with suppress(OSError), self._file:  # a disk that is read-only by now costs the cleaning, not the release
                self._file.truncate(0)
            self._file = None

    def holder(self) -> int | None:
        """The process that runs the study now, or None. A process id that a dead holder left is never returned."""
        try:
            with self.path.open("r+", encoding="utf-8") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    found = _read_holder(file)
                    return int(found["pid"]) if found else None
        except OSError:
            pass
        return None

    def _refusal(self, file: IO[str]) -> StudyError:
        holder = _read_holder(file)
        who = f"process {holder['pid']} (since {holder['started']})" if holder else "another process"
        return StudyError(
            f"The study {self.study} is being run by {who}.",
            "Wait for it, end it, or give this run another study name.",
        )

    def __enter__(self) -> StudyLock:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _read_holder(file: IO[str]) -> dict[str, Any] | None:
    """What the holder wrote; None in the instant before it has."""
    file.seek(0)
    try:
        holder = json.loads(file.read())
    except ValueError:
        return None
    return holder if isinstance(holder, dict) and {"pid", "started"} <= holder.keys() else None


def final_lock(study: str, batch: str) -> str:
    """Returns the name under which a process locks the final fits of one request."""
    return f"{study} final {batch}"


def is_run(store: Store, study: str) -> bool:
    """Returns whether a process runs the study now, on this host or, where the database is a server, on another.

    This is the one rule that says whether a run is alive. A trial that the database calls running is interrupted
    where nobody runs its study. For final fits, give the name that `final_lock` returns.
    """
    here = StudyLock(Settings(store.root, store.url), store.url, study).holder()
    return here is not None or store.patiently(lambda: held_on_server(store.engine, study))
