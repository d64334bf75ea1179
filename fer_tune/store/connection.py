"""The connection to the database: what every engine on it is told, and how its errors are put to
the user."""

from __future__ import annotations

import sqlite3
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
    SQLAlchemyError,
)

from fer_tune.errors import MissingExtraError, StorageError

BUSY_SECONDS = 5.0
"""How long SQLite itself waits for a lock before it answers 'locked' and we decide whether to go on
waiting."""


_LOCKED = (
    "The database {where} is locked by another process{after}.",
    "End what holds it (a backup, a shell with an open transaction), then run the same command again.",
)
_DAMAGED = (
    "{where} is no SQLite database, or a damaged one.",
    "Move the file away and run again, or restore a copy of it; nothing in it was changed.",
)

SAID: dict[int | None, tuple[str, str]] = {
    5: _LOCKED,
    6: _LOCKED,
    8: ("The database {where} is read-only{after}.", "Make the file and its folder writable."),
    10: ("The disk of the database {where} is full or fails{after}.", "Look at the disk, then continue."),
    11: _DAMAGED,
    13: ("The disk of the database {where} is full{after}.", "Free some space, then continue."),
    14: ("The database {where} cannot be opened{after}.", "Check that its folder exists and may be written."),
    26: _DAMAGED,
}
"""What SQLite's primary result codes mean to the user, https://sqlite.org/rescode.html, and what to
do."""


def parse_url(text: str) -> URL:
    """A database URL made definite: SQLite's path absolute, PostgreSQL's driver the one that the
    extra installs.

    Raises:
        StorageError: no URL, a database in memory, a driver that SQLAlchemy does not know.
        MissingExtraError: PostgreSQL without its driver.
    """
    try:
        url = make_url(text)
        backend = url.get_backend_name()
        dialect = url.get_dialect()
        if backend not in ("sqlite", "postgresql"):  # the one has its driver in Python, the other's is looked for below
            dialect.import_dbapi()
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("psycopg"):
            raise MissingExtraError("PostgreSQL", "postgres") from error
        raise StorageError(f"The database driver {error.name} is not installed.") from error
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        # The text itself may hold a password, so it is not repeated.
        raise StorageError(
            "The storage is no database URL that SQLAlchemy knows.",
            "For example sqlite:///storage/fer_tune.db or postgresql://user:password@host/database.",
        ) from error
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise StorageError(
                "A database in memory is lost with its process.", "Name a file: sqlite:///storage/fer_tune.db."
            )
        return url.set(database=str(Path(url.database).absolute()))
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername == "postgresql+psycopg" and find_spec("psycopg") is None:
        raise MissingExtraError("PostgreSQL", "postgres")
    return url


def shown(url: URL) -> str:
    """The URL for people: a password is `***`, wherever it stands."""
    masked = {key: "***" if "pass" in key.lower() else value for key, value in url.query.items()}
    return url.set(query=masked).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def full(url: URL) -> str:
    """The URL with its password, for another library that connects by itself."""
    return url.render_as_string(hide_password=False)


def make_engine(url: URL) -> Engine:
    """An engine on `url`; no connection is made yet."""
    return tune(sqlalchemy.create_engine(url, **engine_options(url)))


def engine_options(url: URL) -> dict[str, Any]:
    """Keyword arguments for `create_engine`, ours and Optuna's alike."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": BUSY_SECONDS}}
    return {"pool_pre_ping": True}


def tune(engine: Engine) -> Engine:
    """Sets SQLite's pragmas on every connection that `engine` makes from now on.

    WAL lets readers (dashboard, mirror, `best`) read while the orchestrator writes; with it,
    synchronous=NORMAL survives a killed process whole and a power cut up to the last transactions.
    Foreign keys are off by default.
    """
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
    return engine


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def database_error(error: BaseException | None) -> SQLAlchemyError | None:
    """The database's error behind `error` (Optuna wraps it), or None."""
    while error is not None:
        if isinstance(error, SQLAlchemyError):
            return error
        error = error.__cause__
    return None


def explain(error: SQLAlchemyError, url: URL, waited: float = 0.0) -> StorageError:
    """The error for the user: what is wrong with which database, and what to do."""
    where = shown(url)
    if (code := sqlite_code(error)) in SAID:
        message, hint = SAID[code]
        after = f" and stayed so for {waited:.0f} s" if waited >= 1 else ""
        return StorageError(message.format(where=where, after=after), hint)
    return StorageError(f"The database {where} answers: {_first_line(error, url)}")


def sqlite_code(error: SQLAlchemyError) -> int | None:
    """SQLite's primary result code, or None where there is none."""
    origin = error.orig if isinstance(error, DBAPIError) else None
    if not isinstance(origin, sqlite3.Error):
        return None
    code = getattr(origin, "sqlite_errorcode", None)  # absent on errors that sqlite3 raises by itself
    return None if code is None else int(code) & 0xFF


def _first_line(error: SQLAlchemyError, url: URL) -> str:
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    line = (str(origin).strip().splitlines() or [type(origin).__name__])[0]
    return line.replace(str(url.password), "***") if url.password else line
