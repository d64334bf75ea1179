"""The connection to the database: its URL, its engines, and its errors in words for the user."""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
import time
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from fer_tune.errors import MissingExtraError, StorageError

BUSY_SECONDS = 5.0
"""Seconds that SQLite waits for a lock before it answers `locked`. `Patience` then waits longer."""


CHECKPOINT_SECONDS = 1.0
"""Seconds between two moves of rows from the write-ahead log into the database file, at least.

Infinity turns it off.
"""


RESTORE = "The database is damaged, or another program changed it. See `fer-tune doctor`, or restore a backup."
"""What to do about a value that fer-tune never writes."""

_LOCKED = (
    "The database {where} is locked by another process{after}.",
    "End the process that holds it (a backup, a shell with an open transaction). Then run the same command again.",
)
_DAMAGED = (
    "{where} is not an SQLite database, or it is damaged.",
    "Move the file away and run again, or restore a copy of it. Nothing in it was changed.",
)

MESSAGES: dict[int | None, tuple[str, str]] = {
    5: _LOCKED,
    6: _LOCKED,
    8: ("The database {where} is read-only{after}.", "Make the file and its folder writable."),
    10: ("The disk of the database {where} is full or fails{after}.", "Check the disk, then run again."),
    11: _DAMAGED,
    13: ("The disk of the database {where} is full{after}.", "Free some space, then run again."),
    14: ("The database {where} cannot be opened{after}.", "Check that its folder exists and can be written."),
    26: _DAMAGED,
}
"""Message and hint for SQLite's primary result codes, https://sqlite.org/rescode.html."""


_UNREACHED = "Check that the server runs, and that host, port, user, password and database in the URL are right."


_MISSING = re.compile(r'no such table: (\w+)|relation "(\w+)" does not exist')
_RESTORE = "Another program deleted it. Restore a backup with `fer-tune restore`, or name another database."


def parse_url(text: str) -> URL:
    """Returns a database URL in full: SQLite's path is absolute, and PostgreSQL's driver is named.

    Raises:
        StorageError: the text is not a database URL, its driver is unknown or not installed, or it
            names a database in memory.
        MissingExtraError: the driver of PostgreSQL is not installed.
    """
    try:
        url = make_url(text)
        backend = url.get_backend_name()
        dialect = url.get_dialect()
        # SQLite's driver is part of Python, and PostgreSQL's is checked below.
        if backend not in ("sqlite", "postgresql"):
            dialect.import_dbapi()
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("psycopg"):
            raise MissingExtraError("PostgreSQL", "postgres") from error
        hint = "Name an SQLite file or a PostgreSQL database: fer-tune is tested with these."
        raise StorageError(f"The database driver {error.name} is not installed.", hint) from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        # The message does not repeat the text, which may hold a password.
        raise StorageError(
            "The storage is not a valid database URL.",
            "Examples: sqlite:///storage/fer_tune.db or postgresql://user:password@host/database.",
        ) from error
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise StorageError(
                "The storage cannot be a database in memory, which is lost with its process.",
                "Name a file: sqlite:///storage/fer_tune.db.",
            )
        return url.set(database=str(Path(url.database).absolute()))
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername == "postgresql+psycopg" and find_spec("psycopg") is None:
        raise MissingExtraError("PostgreSQL", "postgres")
    return url


def shown(url: URL) -> str:
    """Returns the URL for messages. Every password in it is replaced by `***`."""
    masked = {key: "***" if "pass" in key.lower() else value for key, value in url.query.items()}
    return url.set(query=masked).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def full(url: URL) -> str:
    """Returns the URL with its password, for another library that connects by itself."""
    return url.render_as_string(hide_password=False)


def make_engine(url: URL) -> Engine:
    """Returns an engine for `url`. It does not connect yet."""
    return tune(sqlalchemy.create_engine(url, **engine_options(url)))


def engine_options(url: URL) -> dict[str, Any]:
    """Returns the keyword arguments of `create_engine` for our engine and for Optuna's."""
    common = {"json_deserializer": partial(_from_json, shown(url))}
    if url.get_backend_name() == "sqlite":
        return common | {"connect_args": {"timeout": BUSY_SECONDS}}
    return common | {"pool_pre_ping": True}


def _from_json(where: str, text: str) -> Any:
    """Returns the content of a JSON column.

    Raises:
        StorageError: it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise StorageError(f"A column of {where} is not JSON: {error}.", RESTORE) from error


def tune(engine: Engine) -> Engine:
    """Sets SQLite's pragmas on all later connections of `engine`, and returns the engine.

    WAL lets the dashboard, the mirror and other readers read while the orchestrator writes. With
    WAL, synchronous=NORMAL loses nothing when a process is killed, and only the last transactions
    in a power cut. SQLite checks foreign keys only if it is asked to.
    """
    if engine.dialect.name == "sqlite" and engine.url.query.get("mode") != "ro":
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "checkin", _Checkpoints())
    return engine


class _Checkpoints:
    """Moves rows from the write-ahead log into the database file, once a second at most.

    SQLite by itself waits for four megabytes. A file that is copied without its log, after a kill,
    would then have no tables. Called when a connection returns to its pool.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, connection: Any, _record: Any) -> None:
        if connection is not None and time.monotonic() >= self._next and math.inf > CHECKPOINT_SECONDS:
            self._next = time.monotonic() + CHECKPOINT_SECONDS
            with suppress(sqlite3.Error):  # a full disk, which the next transaction reports
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def checkpoint(engine: Engine) -> None:
    """Moves all rows of the write-ahead log into an SQLite file. Does nothing for a server."""
    file = engine.url.database or ""
    if engine.dialect.name == "sqlite" and engine.url.query.get("mode") != "ro" and os.path.isfile(file):
        with suppress(SQLAlchemyError), engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def database_error(error: BaseException | None) -> SQLAlchemyError | None:
    """Returns the database's error that caused `error`, or None. Optuna wraps such errors."""
    while error is not None:
        if isinstance(error, SQLAlchemyError):
            return error
        error = error.__cause__
    return None


def explain(error: SQLAlchemyError, url: URL, waited: float = 0.0) -> StorageError:
    """Returns the error for the user: what is wrong with which database, and what to do.

    Args:
        waited: seconds that were spent waiting for the database.
    """
    where = shown(url)
    if (code := sqlite_code(error)) in MESSAGES:
        message, hint = MESSAGES[code]
        after = f" and stayed so for {waited:.0f} s" if waited >= 1 else ""
        return StorageError(message.format(where=where, after=after), hint)
    said = _first_line(error, url)
    if missing := _MISSING.search(said):
        return StorageError(f"The database {where} lacks the table {missing[1] or missing[2]}.", _RESTORE)
    unreached = isinstance(error, OperationalError) and url.get_backend_name() != "sqlite"
    hint = _UNREACHED if unreached else "`fer-tune doctor` examines the storage."
    return StorageError(f"The database {where} cannot be used: {said}", hint)


def sqlite_code(error: SQLAlchemyError) -> int | None:
    """Returns SQLite's primary result code, or None for an error of another kind."""
    origin = error.orig if isinstance(error, DBAPIError) else None
    if not isinstance(origin, sqlite3.Error):
        return None
    code = getattr(origin, "sqlite_errorcode", None)  # missing on errors of Python's sqlite3 itself
    return None if code is None else int(code) & 0xFF


def _first_line(error: SQLAlchemyError, url: URL) -> str:
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    line = (str(origin).strip().splitlines() or [type(origin).__name__])[0]
    return line.replace(str(url.password), "***") if url.password else line
