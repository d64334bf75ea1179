"""Opens a database for reading only, wherever it is: also in a folder without write permission."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, select, update
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import OperationalError

from fer_tune.errors import FerTuneError, StorageError
from fer_tune.files import draft_folder, writing
from fer_tune.settings import Settings, sqlite_url
from fer_tune.store import bootstrap, tables
from fer_tune.store.backup import copy_database
from fer_tune.store.connection import engine_options, make_engine, parse_url
from fer_tune.store.damage import blame
from fer_tune.store.database import Database
from fer_tune.store.folder import take
from fer_tune.store.retry import Patience
from fer_tune.store.store import Store

opened: list[Settings] = []
"""The databases that this process has read."""


def explained(error: Exception) -> StorageError | None:
    """Returns the error for the user if a database that was read has values that explain `error`.

    A reader may have returned such a value, which fails where it is shown.
    """
    for settings in opened:
        with suppress(FerTuneError), open_reader(settings) as store:
            if (found := blame(store, error)) is not None:
                return found
    return None


def open_reader(settings: Settings, note: Callable[[str], object] = lambda text: None) -> Store:
    """Opens a database that exists, for a command that only reads.

    If the database cannot be written, nothing is written beside it. An older format is then
    upgraded in a temporary copy.

    Raises:
        StorageError: there is no database, or it cannot be read.
    """
    url = parse_url(settings.url)
    bootstrap.prepare_folder(url, create=False)
    if settings not in opened:
        opened.append(settings)
    if is_writable(url):
        return Store.of(settings, create=False, note=note)
    patience = Patience(url, 30.0)
    engine = read_only_engine(url)
    if engine is not None:
        store = Store(Database(url, engine, settings.root.absolute(), patience))
        if patience(lambda: bootstrap.is_current(store)):
            return store
        store.close()
    return _read_copy(url, settings, patience)


def working_copy(settings: Settings, root: Path) -> Settings:
    """Returns a storage folder with a copy of the database, for work that is recorded.

    A copy that is there already is used again, so that a killed command continues. It finds the
    images where the original has them.

    Raises:
        StorageError: the copy cannot be written.
    """
    own = replace(settings, root=root, url=sqlite_url(root / "fer_tune.db"))
    file = root / "fer_tune.db"
    if not file.exists():
        with open_reader(settings) as store, writing(file):
            root.mkdir(parents=True, exist_ok=True)
            with draft_folder(file) as folder:
                draft = folder / file.name
                copy_database(store, draft)
                with Store.open(sqlite_url(draft), create=False, root=root) as copy:
                    _point_to(copy, settings.root.resolve())
                    take(copy)
                draft.rename(file)
    return own


def _point_to(copy: Database, root: Path) -> None:
    """Makes the paths of images and splits absolute. They were relative to another folder."""

    def work(tx: Connection) -> None:
        for table, column in ((tables.studies, "data_cache"), (tables.splits, "path")):
            for path in set(tx.execute(select(table.c[column])).scalars()):
                tx.execute(update(table).where(table.c[column] == path).values({column: str(root / path)}))

    copy.write(work)


def is_writable(url: URL) -> bool:
    """Returns whether this process may write an SQLite file and beside it. True for a server."""
    if url.get_backend_name() != "sqlite":
        return True
    file = Path(str(url.database))
    return all(os.access(place, os.W_OK, effective_ids=True) for place in (file, file.parent))


def read_only_engine(url: URL, **options: Any) -> Engine | None:
    """Returns an engine that cannot write, or None if the database must be copied to be read.

    SQLite reads a write-ahead log only if the file `-shm` exists or can be made beside it. Without
    a log, the file can be read as one that nobody changes.
    """
    options = engine_options(url) | options
    if url.get_backend_name() != "sqlite":
        return sqlalchemy.create_engine(url, execution_options={"postgresql_readonly": True}, **options)
    log = Path(f"{url.database}-wal")
    ways: list[dict[str, str]] = [{"mode": "ro"}]
    if not (log.exists() and log.stat().st_size):
        ways.append({"mode": "ro", "immutable": "1"})
    for way in ways:
        engine = sqlalchemy.create_engine(_file(url, **way), **options)
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
        except OperationalError:
            engine.dispose()
        else:
            return engine
    return None


def _file(url: URL, **options: str) -> URL:
    place = Path(str(url.database)).as_uri()
    return URL.create("sqlite", database=place, query=options | {"uri": "true"})


def _read_copy(url: URL, settings: Settings, patience: Patience) -> Store:
    """Opens a temporary copy, which is removed with the store."""
    file = Path(str(url.database))
    folder = Path(tempfile.mkdtemp(prefix="fer-tune-read-"))
    try:
        for name in (file.name, f"{file.name}-wal"):
            if (file.parent / name).exists():
                shutil.copyfile(file.parent / name, folder / name)
        engine = make_engine(URL.create("sqlite", database=str(folder / file.name)))
        store = Store(Database(url, engine, settings.root.absolute(), patience))
        store.after = weakref.finalize(store, shutil.rmtree, folder, ignore_errors=True)
        patience(lambda: bootstrap.prepare(store, False, lambda text: None))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise StorageError(
            f"The database {file} must be copied to be read, and that failed: {error.strerror}.",
            f"Make its folder writable, or free some space in {folder.parent}.",
        ) from error
    return store
