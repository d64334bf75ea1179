"""Whose database it is: made where it is missing, recognised where it is foreign or newer."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from fer_tune import __version__
from fer_tune.errors import StorageError
from fer_tune.store import tables
from fer_tune.store.connection import shown

OPTUNA_TABLES = {"alembic_version", "studies", "trials"}
"""Tables that tell a database of Optuna, which may share one with us."""


def prepare_folder(url: URL, create: bool) -> None:
    """Makes the folder of an SQLite file, or refuses a file that is not there.

    Raises:
        StorageError: there is no file and none is to be made, or the folder cannot be made.
    """
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    file = Path(url.database)
    if file.is_file():
        return
    if file.exists():
        raise StorageError(f"{file} is no file.", "The storage URL must name a database file.")
    if not create:
        raise StorageError(
            f"There is no database {shown(url)}.", "`fer-tune run SWEEP` makes one; --storage URL names another."
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder {file.parent} cannot be made: {error.strerror}.") from error


def prepare(engine: Engine, where: str, create: bool) -> None:
    """Checks that the database is ours and of this version; with `create`, makes the tables where there are none.

    Args:
        where: the URL for people.

    Raises:
        StorageError: it is foreign, newer, or empty and not to be made.
    """
    try:
        with engine.begin() as tx:
            if create and engine.dialect.name == "sqlite":
                # Python's sqlite3 begins no transaction for CREATE TABLE by itself: with this one, the tables come all
                # at once or not at all, and a second process waits for them.
                tx.exec_driver_sql("BEGIN IMMEDIATE")
            if _version(tx, where) is None:
                if not create:
                    raise StorageError(f"{where} holds no studies of fer-tune.", "`fer-tune run SWEEP` makes one.")
                tables.metadata.create_all(tx)
                tx.execute(insert(tables.schema).values(id=1, version=tables.SCHEMA, made_by=__version__))
    except DBAPIError as error:
        # A server lets two processes make them at once and refuses one of the two: then they are there now.
        if not (isinstance(error, IntegrityError) or "already exists" in str(error.orig)):
            raise
        prepare(engine, where, create=False)


def _version(tx: Connection, where: str) -> int | None:
    """The version of our tables, or None where they are to be made."""
    names = set(inspect(tx).get_table_names())
    if tables.schema.name not in names:
        if names and not names >= OPTUNA_TABLES:
            raise StorageError(
                f"{where} is a database of something else (its tables: {', '.join(sorted(names)[:5])}).",
                "Name another one with --storage or FER_TUNE_STORAGE.",
            )
        return None
    version = tx.execute(select(tables.schema.c.version)).scalar()
    if version is None or version > tables.SCHEMA:
        raise StorageError(
            f"{where} was made by a newer fer-tune (version {version} of its tables; known here: {tables.SCHEMA}).",
            "Update: pip install --upgrade fer-tune.",
        )
    return int(version)
