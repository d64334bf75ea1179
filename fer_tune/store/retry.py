"""Waiting for storage: a database that is locked or away, a disk that is full or read-only for a
while."""

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
"""Between two tries; grows to a second."""

REMIND_SECONDS = 60.0
"""Between two sentences about one trouble."""

HURRIED_SECONDS = 10.0
"""Patience that is left once the run is to end."""

PASSING = {5, 6, 13}
"""SQLite's busy, locked and full, https://sqlite.org/rescode.html."""

PASSING_FOR_A_RUN = {8, 10, 14}
"""SQLite's readonly, ioerr and cantopen: what a folder that is read-only for a while, or too full
for the files that lie beside the database, looks like. A run waits, since it has rows to lose; a
reader is told at once."""

PASSING_FILES = FULL | {errno.EROFS}
"""What a file's disk answers while it is full or read-only."""


class Patience:
    """Does work again while a trouble lasts that may pass by itself.

    Args:
        url: of the database, for the error's text; a text is made definite as `parse_url` does.
        seconds: after which the trouble counts as an error.
        told: given a sentence for the user when work must wait, each minute while it waits, and
            when it goes on.
        run: whether this is a run, which waits for read-only and full folders too.

    Attributes:
        waited: seconds that all work waited so far. Who measures another's silence subtracts them.
        engines: whose connections are made anew before another try; one that was opened on a
            read-only disk stays read-only for as long as it is open.
    """

    def __init__(
        self, url: URL | str, seconds: float, told: Callable[[str], object] | None = None, *, run: bool = False
    ) -> None:
        self.seconds = seconds
        self.told = told
        self.waited = 0.0
        self.engines: list[Engine] = []
        self._url = parse_url(url) if isinstance(url, str) else url
        self._run = run

    def hurry(self) -> None:
        """The run is to end: what is being waited for, and all that follows, has `HURRIED_SECONDS`
        at most."""
        self.seconds = min(self.seconds, HURRIED_SECONDS)

    def __call__(self, work: Callable[[], T]) -> T:
        """Does `work`: one transaction or one file, so that a try that failed has left nothing.

        Raises:
            StorageError: the database's trouble lasts, or is of a kind that does not pass.
            FerTuneError: the work's own, about a disk that stays full or read-only.
            IntegrityError: passed through; only the caller knows what a row that is there already
                means.
        """
        start = time.monotonic()
        pause, remind = PAUSE_SECONDS, 0.0
        while True:
            try:
                done = work()
            except Exception as error:
                waiting = time.monotonic() - start
                trouble = self._trouble(error, waiting, last=waiting + pause > self.seconds)
                if trouble is None:
                    raise
                if waiting >= remind:
                    remind = waiting + REMIND_SECONDS
                    self._tell(f"{trouble.message} Trying again for up to {self.seconds - waiting:.0f} s.")
                self._renew()
            else:
                if remind:
                    self.waited += time.monotonic() - start
                    self._tell(f"The storage can be written again after {time.monotonic() - start:.0f} s.")
                return done
            time.sleep(pause)
            pause = min(1.0, 2 * pause)

    def _trouble(self, error: Exception, waiting: float, *, last: bool) -> FerTuneError | None:
        """What to say while the work waits; None where `error` is to be raised as it is.

        Raises:
            StorageError: the database's trouble, if this was the last try or waiting will not help.
        """
        cause = database_error(error)
        if cause is None:
            return error if isinstance(error, FerTuneError) and self._file_passes(error) and not last else None
        if isinstance(cause, IntegrityError):
            return None
        trouble = explain(cause, self._url, waiting)
        if last or not self._passes(cause):
            raise trouble from error
        return trouble

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

    def _tell(self, text: str) -> None:
        if self.told is not None:
            self.told(text)

    def _renew(self) -> None:
        for engine in self.engines:
            engine.dispose()
