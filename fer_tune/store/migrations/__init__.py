"""Upgrades a database of an older format to the present one, with Alembic."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection

from fer_tune.errors import StorageError
from fer_tune.files import draft_folder, remove_drafts


def upgrade(connection: Connection, root: Path) -> None:
    """Upgrades the tables to the newest revision, in the transaction of `connection`.

    Args:
        root: the storage folder. In format 1, the epochs of final fits are files there.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes.update(connection=connection, root=root)
    command.upgrade(config, "head")


def back_up(database: Path, name: str) -> Path:
    """Copies an SQLite database, including its write-ahead log, to a new file in the same folder.

    Args:
        name: suffix of the copy's name.

    Returns:
        The path of the copy.

    Raises:
        StorageError: the copy cannot be written, or the copy is damaged.
    """
    copy, attempt = database.with_name(f"{database.name}.{name}"), 1
    while copy.exists():
        attempt += 1
        copy = database.with_name(f"{database.name}.{name}-{attempt}")
    remove_drafts(database.parent, below=False)
    try:
        with draft_folder(copy) as folder:
            draft = folder / copy.name
            with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(draft)) as target:
                source.backup(target)
                [(answer,)] = target.execute("PRAGMA integrity_check(1)").fetchall()
            if answer == "ok":
                draft.rename(copy)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            f"The database {database} must be upgraded, but its backup {copy} cannot be written: {error}.",
            "Free some space, or make the folder writable. Nothing was changed.",
        ) from error
    if answer != "ok":
        raise StorageError(
            f"The database {database} must be upgraded, but it is damaged: {answer}.",
            "Restore an undamaged copy of it. Nothing was changed.",
        )
    return copy
