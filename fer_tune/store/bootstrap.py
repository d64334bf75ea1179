"""Creates the tables, upgrades those of an older format, and refuses databases of other programs or
newer versions."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError

from fer_tune import __version__
from fer_tune.errors import StorageError
from fer_tune.store import tables
from fer_tune.store.connection import shown
from fer_tune.store.database import Database

OPTUNA_TABLES = {"alembic_version", "studies", "trials"}
"""Tables that every database of Optuna has. fer-tune adds its tables to such a database."""

LONGEST_PATH = 500
"""Bytes of the path of a database. SQLite's own limit is 512, with the names of its other files."""

UPGRADABLE = (1, 2, 3)
"""Older formats that the migrations can upgrade."""


def _short(path: Path) -> str:
    return text if len(text := str(path)) <= 120 else f"{text[:60]}…{text[-60:]}"


def prepare_folder(url: URL, create: bool) -> None:
    """Creates the folder of an SQLite file. With `create=False`, it refuses a missing file.

    Raises:
        StorageError: the file does not exist and `create` is False, or the folder cannot be
            created.
    """
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    file = Path(url.database)
    if len(os.fsencode(file)) > LONGEST_PATH:
        raise StorageError(
            f"The path of the database is too long ({len(os.fsencode(file))} bytes): {_short(file)}.",
            f"SQLite opens paths of at most {LONGEST_PATH} bytes. Use a shorter FER_TUNE_DIR.",
        )
    try:
        there = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        there = None
    except (OSError, ValueError) as error:  # a name that is too long, a loop of links, a folder without permission
        raise StorageError(
            f"The database {_short(file)} cannot be opened: {getattr(error, 'strerror', None) or error}.",
            "Check the path that --storage, FER_TUNE_STORAGE or FER_TUNE_DIR names.",
        ) from error
    if there is not None and stat.S_ISREG(there.st_mode):
        return
    if there is not None:
        raise StorageError(f"{file} is not a regular file.", "The storage URL must name a database file.")
    if not create:
        raise StorageError(
            f"There is no database {shown(url)}.", "`fer-tune run SWEEP` makes one. --storage URL names another one."
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder {file.parent} cannot be created: {error.strerror}.") from error


def is_current(database: Database) -> bool:
    """Returns whether the database has our tables in the present format.

    Raises:
        StorageError: the database belongs to another program, has a newer or unknown format, or has
            no tables.
    """
    with database.engine.connect() as connection:
        found = _format(connection, database.shown)
    if found is None:
        raise _no_studies(database)
    return found == tables.FORMAT


def _no_studies(database: Database) -> StorageError:
    return StorageError(f"{database.shown} has no studies of fer-tune.", "`fer-tune run SWEEP` makes one.")


def prepare(database: Database, create: bool, note: Callable[[str], object]) -> None:
    """Makes sure that the database has our tables in the present format.

    It upgrades tables of an older format.

    Args:
        create: whether to create missing tables.
        note: is called with one line if the database was upgraded.

    Raises:
        StorageError: the database belongs to another program, has a newer or unknown format, or has
            no tables and `create` is False.
    """
    engine = database.engine
    with engine.connect() as connection:
        found = _format(connection, database.shown)
    if found == tables.FORMAT:
        return
    if found is not None:
        _upgrade(database, found, note)
        return
    if not create:
        raise _no_studies(database)
    try:
        with engine.begin() as tx:
            _lock(tx)
            if _format(tx, database.shown) is None:
                _create(tx)
    except DBAPIError as error:
        # On a server, two processes may create the tables at once, and one of them fails. The
        # tables exist then.
        if not (isinstance(error, IntegrityError) or "already exists" in str(error.orig)):
            raise
        prepare(database, False, note)


def _create(tx: Connection) -> None:
    tables.metadata.create_all(tx)
    tx.execute(insert(tables.schema).values(id=1, version=tables.FORMAT, made_by=__version__))
    tx.execute(insert(tables.revision).values(version_num=tables.REVISION))


def _upgrade(database: Database, found: int, note: Callable[[str], object]) -> None:
    """Upgrades the tables in one transaction. It first makes a copy of an SQLite file."""
    from fer_tune.store.migrations import back_up, upgrade

    file = database.engine.url.database
    copy = None
    if database.engine.dialect.name == "sqlite" and file:
        copy = back_up(Path(file), f"format-{found}")
    try:
        with database.engine.begin() as tx:
            _lock(tx)
            if _format(tx, database.shown) == found:  # another process may have upgraded it meanwhile
                upgrade(tx, database.root)
    except (KeyError, TypeError, ValueError, IndexError) as error:  # a column holds what fer-tune never wrote
        raise StorageError(
            f"{database.shown} has format {found} and cannot be upgraded: {type(error).__name__} {error}.",
            "The database is damaged. Nothing was changed. Restore an undamaged copy, or use another database.",
        ) from error
    kept = f" A copy of the old database is {copy}." if copy else ""
    note(f"The database was upgraded from format {found} to {tables.FORMAT}.{kept}")


def tables_missing(where: str, names: Collection[str]) -> StorageError:
    """Returns the error for a database that lacks some of its tables."""
    listed = ", ".join(sorted(names)[:5])
    return StorageError(
        f"{where} lacks tables that it had: {listed}. Another program deleted them.",
        "Restore a backup with `fer-tune restore`, or name another database. Nothing was changed.",
    )


def _lock(tx: Connection) -> None:
    """Begins a transaction in SQLite, because Python's driver does not do so before CREATE TABLE.

    So either all tables are created or none, and a second process waits for them.
    """
    if tx.engine.dialect.name == "sqlite":
        tx.exec_driver_sql("BEGIN IMMEDIATE")


def _format(connection: Connection, where: str) -> int | None:
    """Returns the format of our tables, or None if the database has none yet.

    Raises:
        StorageError: the database belongs to another program, or has a format that this version
            does not know.
    """
    names = set(inspect(connection).get_table_names())
    if tables.schema.name not in names:
        if ours := {name for name in names if name.startswith("fer_")}:
            raise tables_missing(where, tables.metadata.tables.keys() - ours)
        if names and not names >= OPTUNA_TABLES:
            raise StorageError(
                f"{where} belongs to another program (its tables: {', '.join(sorted(names)[:5])}).",
                "Name another one with --storage or FER_TUNE_STORAGE.",
            )
        return None
    version = connection.execute(select(tables.schema.c.version)).scalar()
    if version == tables.FORMAT and (missing := tables.metadata.tables.keys() - names):
        raise tables_missing(where, missing)
    if version == tables.FORMAT or version in UPGRADABLE:
        return int(version)
    raise StorageError(
        f"{where} was made by a newer or unknown fer-tune: it has format {version}, not {tables.FORMAT}.",
        "Update fer-tune: pip install --upgrade fer-tune.",
    )
