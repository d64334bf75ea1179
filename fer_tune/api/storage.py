"""Copies, moves, renames and deletes studies, one or all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fer_tune.api.arguments import open_store
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.store.backup import Backup
    from fer_tune.store.restore import Restored
    from fer_tune.study.deleting import Deleted
    from fer_tune.study.exporting import Exported
    from fer_tune.study.migrating import Migrated


def backup(to: str | os.PathLike[str] | None = None, *, artifacts: bool = False, storage: str | None = None) -> Backup:
    """Copies the database into one file, also during a run, and reads the copy back.

    Args:
        to: a file that does not exist yet, or a folder. None is `backups/` in the storage folder.
        artifacts: whether to include models and all other files of jobs.

    Raises:
        StorageError: the backup cannot be written, or the database is damaged or on a server.
    """
    from fer_tune.store.backup import back_up

    with open_store(storage) as store:
        return back_up(store, None if to is None else Path(to), artifacts)


def restore(file: str | os.PathLike[str], *, replace: bool = False, storage: str | None = None) -> Restored:
    """Puts a backup in the place of the database, and its artifacts into the storage folder.

    Args:
        replace: whether to move a database aside that is there.

    Raises:
        StorageError: the file is not a backup, a database is there, or a run uses it.
    """
    from fer_tune.store.restore import restore as put_back

    return put_back(Path(file), Settings.from_environment(storage), replace)


def migrate(to: str, *, storage: str | None = None) -> Migrated:
    """Copies all studies to another database, and compares the copy row by row.

    The files of the jobs stay in the storage folder. From then on they belong to the copy, and the
    old database can only be read.

    Args:
        to: URL of the other database, such as `postgresql+psycopg://user@host/fer_tune`. SQLite
            files are made.

    Raises:
        StudyError: there is no study, or a process writes one.
        StorageError: the other database has a study of the same name, or cannot be written.
    """
    from dataclasses import replace

    from fer_tune.mirror.process import MirrorLock
    from fer_tune.store import Store, StudyLock
    from fer_tune.study.migrating import migrate as copy

    def mirror_lock(settings: Settings, url: str, study: str) -> StudyLock:
        return MirrorLock(replace(settings, url=url), study)

    settings = Settings.from_environment(storage)
    with Store.of(settings, create=False) as source, Store.of(replace(settings, url=to)) as target:
        return copy(source, target, settings, (StudyLock, mirror_lock))


def delete_study(study: str, *, storage: str | None = None) -> Deleted:
    """Deletes a study whole: trials, epochs, artifacts, checkpoints, and trackers' cursors.

    Its openings of test images stay in the ledger. What wandb has of it stays too.

    Raises:
        StudyError: there is no such study, or a process runs it.
        StorageError: the database cannot be written, or belongs to another storage folder.
    """
    from fer_tune.store import Store
    from fer_tune.study.deleting import delete_study as delete

    settings = Settings.from_environment(storage)
    with Store.of(settings, create=False) as store:
        return delete(store, settings, study)


def rename_study(study: str, to: str, *, storage: str | None = None) -> None:
    """Gives a study another name. Copies that trackers have keep the old name.

    Raises:
        StudyError: there is no such study, the name is taken or not valid, or a process runs it.
        StorageError: the database cannot be written, or belongs to another storage folder.
    """
    from fer_tune.store import Store
    from fer_tune.study.renaming import rename_study as rename

    settings = Settings.from_environment(storage)
    with Store.of(settings, create=False) as store:
        rename(store, settings, study, to)


def export_study(study: str, to: str | os.PathLike[str], *, storage: str | None = None) -> Exported:
    """Writes one study into a file, with its models and other files. The images are not in it.

    Args:
        to: a file that does not exist yet, or a folder.

    Raises:
        StudyError: there is no such study, or a process runs it.
        StorageError: the file exists or cannot be written.
    """
    from fer_tune.study.exporting import export_study as write

    with open_store(storage) as store:
        return write(store, Settings.from_environment(storage), study, Path(to))


def import_study(file: str | os.PathLike[str], *, storage: str | None = None) -> Exported:
    """Adds a study that `export_study` wrote to the database and its storage folder.

    Raises:
        StudyError: there is a study of its name.
        StorageError: the file is not an exported study, or cannot be unpacked.
    """
    from fer_tune.store import Store
    from fer_tune.study.exporting import import_study as add

    settings = Settings.from_environment(storage)
    with Store.of(settings) as store:
        return add(store, settings, Path(file))
