"""The storage folder of a database. A file in the folder has the folder's id, and the database has
the same id.

Without it, two storage folders could use one database, and each would have half of the artifacts.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.engine import make_url

from fer_tune.errors import StorageError
from fer_tune.files import create_text
from fer_tune.store import tables
from fer_tune.store.database import Database

NAME = "storage-id"
"""Name of the file that has the folder's id: 32 hexadecimal digits."""


def claim(database: Database) -> None:
    """Makes sure that the database belongs to its storage folder. Every command that writes files
    calls it.

    A database without a folder gets this one. A folder that was moved keeps its id.

    Raises:
        StorageError: the database belongs to another folder, or the folder cannot be written.
    """
    own, path = folder_id(database.root), str(database.root.resolve())
    free = update(tables.schema).where(tables.schema.c.folder.is_(None)).values(folder=own, folder_path=path)
    database.write(lambda tx: tx.execute(free))
    [row] = database.rows(select(tables.schema.c.folder, tables.schema.c.folder_path))
    if row["folder"] != own or _is_copy(database, Path(row["folder_path"]), own):
        raise _refusal(database, row["folder"], row["folder_path"])
    if row["folder_path"] != path:
        moved = update(tables.schema).where(tables.schema.c.folder == own).values(folder_path=path)
        database.write(lambda tx: tx.execute(moved))


MOVED = "moved"
"""Stands for the folder's id in a database whose studies were copied to another one."""


def has_moved(database: Database) -> bool:
    """Returns whether the studies of a database were copied to another one, which has the files."""
    return MOVED in [row["folder"] for row in database.rows(select(tables.schema.c.folder))]


def move_to(database: Database, other: Database) -> None:
    """Records that another database has the studies now. This one can only be read from then on.

    Two runs of one study, each with a database of its own, would remove the files of each other.
    """
    moved = update(tables.schema).values(folder=MOVED, folder_path=other.shown)
    database.write(lambda tx: tx.execute(moved))


def take(database: Database) -> None:
    """Makes the database belong to its storage folder, whatever folder it belonged to."""
    own, path = folder_id(database.root), str(database.root.resolve())
    database.write(lambda tx: tx.execute(update(tables.schema).values(folder=own, folder_path=path)))


def folder_id(root: Path) -> str:
    """Returns the id of a storage folder. Gives it one if it has none.

    Raises:
        StorageError: the folder cannot be written, or its file has no id.
    """
    if (known := read_id(root)) is None:
        create_text(root / NAME, f"{secrets.token_hex(16)}\n")
        known = read_id(root)
    if known is None:
        raise StorageError(f"{root / NAME} has no id of a storage folder.", "Remove the file, then run again.")
    return known


def read_id(root: Path) -> str | None:
    """Returns the id of a storage folder, or None if it has no valid one."""
    file = root / NAME
    with suppress(OSError, UnicodeDecodeError):
        if file.is_file():
            with file.open(encoding="utf-8") as stream:
                text = stream.read(64).strip()
            return text if re.fullmatch("[0-9a-f]{32}", text) else None
    return None


def _is_copy(database: Database, original: Path, own: str) -> bool:
    """Returns whether the folder is a copy of the database's folder, which is still there.

    A copy that has a database of its own is a folder like any other.
    """
    if _is_inside(database) or read_id(original) != own:
        return False
    try:
        return not os.path.samefile(original, database.root)
    except OSError:
        return False


def _is_inside(database: Database) -> bool:
    """Returns whether the database is a file in its storage folder."""
    url = make_url(database.url)
    if url.get_backend_name() != "sqlite":
        return False
    return Path(str(url.database)).resolve().is_relative_to(database.root.resolve())


def _refusal(database: Database, folder: str, path: str) -> StorageError:
    root = database.root
    if folder == MOVED:
        return StorageError(
            f"The studies of {database.shown} were copied to {path} by `fer-tune migrate`, and can only be read here.",
            f"Use --storage {path}. A backup from before can be restored.",
        )
    if Path(path) == root.resolve():
        return StorageError(
            f"{root / NAME} is not the file of this storage folder: the database has another id.",
            f"If only this file was lost: `echo {folder} > {root / NAME}`."
            "\nIf you copied the database alone, its checkpoints and models are missing here:"
            " `fer-tune backup --artifacts` there, then `fer-tune restore` here.",
        )
    hint = f"Set FER_TUNE_DIR={path}, where its artifacts are."
    if read_id(root) == folder or not any(root.glob("*.db")):
        hint += (
            f"\nIf you moved the artifacts here without {NAME}: `echo {folder} > {root / NAME}`."
            "\nTo copy everything: `fer-tune backup --artifacts` there, then `fer-tune restore` here."
        )
    return StorageError(f"The database {database.shown} belongs to the storage folder {path}, not to {root}.", hint)
