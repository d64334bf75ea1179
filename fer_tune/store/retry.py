"""Waits for storage: a database that is locked or unreachable, or a disk that is full or
read-only."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from fer_tune.errors import FerTuneError
from fer_tune.files import FULL
from fer_tune.store.connection import database_error, explain, parse_url, sqlite_code

T = TypeVar("T")

PAUSE_SECONDS = 0.2
"""Seconds between the first two tries. The pause grows to one second."""

REMIND_SECONDS = 60.0
"""Seconds between two messages about one problem."""

HURRIED_SECONDS = 10.0
"""Seconds to wait, at most, after the run was asked to end."""

PASSING = {5, 6, 13}
"""Result codes of SQLite that may pass: busy, locked and full; https://sqlite.org/rescode.html."""

PASSING_FOR_A_RUN = {8, 10, 14}
"""Further result codes that a run waits for: readonly, ioerr and cantopen.

SQLite answers so while the database's folder is read-only, or too full for SQLite's other files. A
run waits because it would lose rows. A reader does not wait.
"""

PASSING_FILES = FULL | {errno.EROFS}
"""Error numbers of a disk that is full or read-only."""


class Patience:
    """Tries work again while the storage has a problem that may pass by itself.

    Args:
        url: of the database, for messages.
        seconds: how long to try. Then the problem is an error.
        note: is called with one sentence when work must wait, each minute while it waits, and when
            it continues.
        run: whether this is a run. A run also waits for folders that are read-only or full.

    Attributes:
        waited: seconds that all work has waited so far. The runner subtracts them when it measures
            how long a worker is silent.
        engines: the engines that connect again before another try. A connection that was opened on
            a read-only disk stays read-only.
    """

    def __init__(
        self, url: URL | str, seconds: float, note: Callable[[str], object] | None = None, *, run: bool = False
    ) -> None:
        self.seconds = seconds
        self.note = note
        self.waited = 0.0
        self.engines: list[Engine] = []
        self._url = parse_url(url) if isinstance(url, str) else url
        self._run = run

    def hurry(self) -> None:
        """Shortens all waiting to `HURRIED_SECONDS`, because the run was asked to end."""
        self.seconds = min(self.seconds, HURRIED_SECONDS)

    def __call__(self, work: Callable[[], T]) -> T:
        """Calls `work` until it succeeds, and returns its result.

        Args:
            work: does one transaction or writes one file, so that a failed try changes nothing.

        Raises:
            StorageError: the database's problem lasts too long, or does not pass by itself.
            FerTuneError: the error that `work` raised, about a disk that stays full or read-only.
            IntegrityError: as SQLAlchemy raises it, because only the caller knows what it means.
        """
        start = time.monotonic()
        pause, remind = PAUSE_SECONDS, 0.0
        while True:
            try:
                done = work()
            except Exception as error:
                waiting = time.monotonic() - start
                problem = self._problem(error, waiting, last=waiting + pause > self.seconds)
                if problem is None:
                    raise
                if waiting >= remind:
                    remind = waiting + REMIND_SECONDS
                    self._say(f"{problem.message} Trying again for up to {self.seconds - waiting:.0f} s.")
                self._renew()
            else:
                if remind:
                    self.waited += time.monotonic() - start
                    self._say(f"The storage can be written again after {time.monotonic() - start:.0f} s.")
                return done
            time.sleep(pause)
            pause = min(1.0, 2 * pause)

    def _problem(self, error: Exception, waiting: float, *, last: bool) -> FerTuneError | None:
        """Returns the problem that the work waits for, or None if `error` must be raised as it is.

        Args:
            waiting: seconds that the work has waited.
            last: whether there is no time for another try.

        Raises:
            StorageError: the database's problem, if this was the last try or waiting does not help.
        """
        cause = database_error(error)
        if cause is None:
            return error if isinstance(error, FerTuneError) and self._file_passes(error) and not last else None
        if isinstance(cause, IntegrityError):
            return None
        problem = explain(cause, self._url, waiting)
        if last or not self._passes(cause):
            raise problem from error
        return problem

    def _passes(self, error: SQLAlchemyError) -> bool:
        code = sqlite_code(error)
        if code is not None:
            return code in (PASSING | PASSING_FOR_A_RUN if self._run else PASSING)
        return isinstance(error, OperationalError) or (isinstance(error, DBAPIError) and error.connection_invalidated)

    def _file_passes(self, error: BaseException | None) -> bool:
        while error is not None:
            if isinstance(error, OSError):
                return self._run and error.errno in PASSING_FILES
            error = error.__cause__
        return False

    def _say(self, text: str) -> None:
        if self.note is not None:
            self.note(text)

    def _renew(self) -> None:
        for engine in self.engines:
            engine.dispose()
