"""Lifts a database of an older format to the present one, with Alembic."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection

from fer_tune.errors import StorageError


def upgrade(connection: Connection, root: Path) -> None:
    """Upgrades the tables to the newest revision, in the transaction that `connection` is in.

    Args:
        root: the storage folder. Format 1 kept the epochs of final fits there.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes.update(connection=connection, root=root)
    command.upgrade(config, "head")


def back_up(database: Path, name: str) -> Path:
    """Copies an SQLite database, with what is still in its write-ahead log, to a new file beside
    it.

    Args:
        name: what the copy's name ends with.

    Raises:
        StorageError: the copy cannot be written, or does not read back whole.
    """
    copy, attempt = database.with_name(f"{database.name}.{name}"), 1
    while copy.exists():
        attempt += 1
        copy = database.with_name(f"{database.name}.{name}-{attempt}")
    try:
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            [(answer,)] = target.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.Error as error:
        copy.unlink(missing_ok=True)
        raise StorageError(
            f"The database {database} must be upgraded, and the copy {copy} cannot be written first: {error}.",
            "Make room beside it, or make the folder writable. Nothing was changed.",
        ) from error
    if answer != "ok":
        copy.unlink(missing_ok=True)
        raise StorageError(
            f"The database {database} must be upgraded, and is damaged: {answer}.", "Restore a sound copy of it."
        )
    return copy
