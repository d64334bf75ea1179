"""Examines the storage folder, the database and the artifacts.

The database is opened for reading only.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator

import sqlalchemy
from sqlalchemy import URL, Connection, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from fer_tune.doctor.findings import Finding, many, note, ok, problem, size, some
from fer_tune.errors import FerTuneError, StorageError
from fer_tune.settings import Settings
from fer_tune.store import Patience, Store, tables
from fer_tune.store.artifact_paths import sha256
from fer_tune.store.bootstrap import UPGRADABLE
from fer_tune.store.connection import explain, parse_url, shown
from fer_tune.store.damage import damage
from fer_tune.store.database import Database
from fer_tune.store.reading import read_only_engine

ROOM = 1 << 30
"""Bytes that should be free. A database of 10,000 trials with models and checkpoints needs less."""


def storage(settings: Settings) -> Iterator[Finding]:
    """Examines the folder, then the database, then the files that the database names."""
    yield from _folder(settings)
    try:
        url = parse_url(settings.url)
        if _is_missing(url):
            yield note("database", f"{shown(url)} does not exist", "`fer-tune run SWEEP` makes it.")
            return
        with read_only(settings) as store:
            yield ok("database", shown(url))
            with store.engine.connect() as connection:
                yield from _whole(connection)
                yield (found := _format(connection))
            if found.state == "ok":
                yield from _artifacts(store)
    except (SQLAlchemyError, FerTuneError) as error:
        wrong = explain(error, url) if isinstance(error, SQLAlchemyError) else error
        yield problem("database", wrong.message, wrong.hint or "Correct it before the next run.")


def read_only(settings: Settings) -> Store:
    """Returns the store of an existing database that cannot be written, and is not upgraded."""
    url = parse_url(settings.url)
    engine = None if _is_missing(url) else read_only_engine(url, poolclass=sqlalchemy.NullPool)
    if engine is None:
        raise StorageError(f"{shown(url)} cannot be read in its folder.", "Copy the folder, then run again.")
    return Store(Database(url, engine, settings.root.absolute(), Patience(url, 0.0)))


def _is_missing(url: URL) -> bool:
    """Returns whether there is no regular SQLite file. SQLite would wait for a pipe, for ever."""
    return url.get_backend_name() == "sqlite" and not os.path.isfile(str(url.database))


def _folder(settings: Settings) -> Iterator[Finding]:
    root = settings.root.absolute()
    advice = "Give yourself the right to write there, or set FER_TUNE_DIR to another folder."
    if not root.exists():
        nearest = next(parent for parent in root.parents if parent.exists())
        missing = problem("folder", f"{root} does not exist, and {nearest} is not writable", advice)
        ready = note("folder", f"{root} does not exist yet; the first run makes it")
        yield ready if os.access(nearest, os.W_OK) else missing
        return
    if not root.is_dir():
        yield problem("folder", f"{root} is not a folder", "Move the file away, or set FER_TUNE_DIR to a folder.")
        return
    used = (settings.artifacts, settings.checkpoints, settings.cache, settings.locks, settings.logs, settings.wandb)
    closed = [place for place in (root, *used) if place.is_dir() and not os.access(place, os.W_OK)]
    yield problem("folder", f"not writable: {some(closed)}", advice) if closed else ok("folder", f"{root} is writable")
    free, more = shutil.disk_usage(root).free, "Free some space, or set FER_TUNE_DIR to another disk."
    yield problem("free space", size(free), more) if free < ROOM else ok("free space", size(free))


def _whole(connection: Connection) -> Iterator[Finding]:
    """Lets SQLite check its pages, its foreign keys, and the columns that hold JSON."""
    if connection.dialect.name != "sqlite":
        return
    faults = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
    if faults != ["ok"]:
        advice = "Restore a backup, or save what can be read: sqlite3 FILE .recover | sqlite3 NEW."
        yield problem("integrity", f"SQLite finds {many(len(faults), 'fault', 'faults')}: {some(faults)}", advice)
        return
    lost = Counter((child, parent) for child, _, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"))
    faults = [f"{child} without {parent}: {count}" for (child, parent), count in lost.items()]
    faults += damage(connection)
    odd = f"rows that no run of fer-tune leaves: {some(faults)}"
    yield problem("integrity", odd, "Restore a backup.") if faults else ok("integrity", "SQLite finds no fault")


def _format(connection: Connection) -> Finding:
    names = inspect(connection).get_table_names()
    found = connection.execute(select(tables.schema.c.version)).scalar() if tables.schema.name in names else None
    if found is None:
        return problem("format", "it has no studies of fer-tune", "--storage names another database.")
    if found in UPGRADABLE:
        return note("format", f"{found}: that of an older fer-tune", "The next command upgrades it, after a copy.")
    if found != tables.FORMAT:
        return problem("format", f"{found}: that of a newer fer-tune", "pip install --upgrade fer-tune")
    return ok("format", f"{found}")


def _artifacts(store: Store) -> Iterator[Finding]:
    """Compares the files with what was recorded of them."""
    wrong: dict[str, list[str]] = {"missing": [], "changed": [], "outside the storage folder": []}
    total = 0
    for study in store.studies.all():
        for record in store.artifacts.of(study.name):
            total += 1
            try:
                path = store.artifacts.path(record)
            except StorageError:
                wrong["outside the storage folder"].append(record.path)
                continue
            if not path.is_file():
                wrong["missing"].append(record.path)
            elif sha256(path)[0] != record.sha256:
                wrong["changed"].append(record.path)
    for how, paths in wrong.items():
        if paths:
            found = f"{many(len(paths), 'recorded file is', 'recorded files are')} {how}: {some(paths)}"
            yield problem("artifacts", found, "Restore them from a backup, or make them again with `fer-tune retrain`.")
    if not any(wrong.values()):
        yield ok("artifacts", many(total, "file, as it was recorded", "files, as they were recorded"))
