"""Puts a backup in the place of the database, and its artifacts into the storage folder."""

from __future__ import annotations

import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fer_tune.errors import StorageError
from fer_tune.files import draft_folder, remove_drafts, replace_file, writing
from fer_tune.settings import Settings
from fer_tune.store.artifact_paths import file_below
from fer_tune.store.backup import DATABASE, FILES, LEDGER, ledger_lines
from fer_tune.store.bootstrap import UPGRADABLE
from fer_tune.store.connection import parse_url
from fer_tune.store.folder import folder_id
from fer_tune.store.lock import running
from fer_tune.store.openings import Openings
from fer_tune.store.tables import FORMAT

COMPANIONS = ("-wal", "-shm", "-journal")
"""Ends of the names of SQLite's files beside a database. They belong to that database alone."""


@dataclass(frozen=True)
class Restored:
    """A database that was restored.

    Attributes:
        path: its file.
        files: how many artifacts were restored.
        kept: where the database that was there before is now, or None.
        openings: how many openings of test images the storage folder's ledger did not have yet.
    """

    path: Path
    files: int
    kept: Path | None
    openings: int = 0


def restore(backup: Path, settings: Settings, replace: bool = False) -> Restored:
    """Restores a backup. If it is killed, the same call does it again.

    Args:
        backup: what `back_up` wrote, or any SQLite file of fer-tune.
        settings: the storage folder and the database, which need not exist.
        replace: whether a database that is there may be moved aside.

    Raises:
        StorageError: the file is not a backup, a database is there, or a run uses it.
    """
    url = parse_url(settings.url)
    if url.get_backend_name() != "sqlite":
        raise StorageError("`fer-tune restore` writes SQLite files only.", "Use pg_restore for a server.")
    file = Path(str(url.database)).resolve()
    if not backup.is_file():
        raise StorageError(f"{backup} is not a file.", "Name a file that `fer-tune backup` wrote.")
    if file.exists() and file.samefile(backup):
        raise StorageError(f"{backup} is the database itself.", "Name a file that `fer-tune backup` wrote.")
    if names := running(file.parent / settings.locks.name):
        raise StorageError(f"The database {file} is in use by {', '.join(names)}.", "Stop it with `fer-tune stop`.")
    if file.exists() and file.stat().st_size and not replace:
        raise StorageError(f"The database {file} exists.", "--replace moves it aside, and restores the backup.")
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        remove_drafts(file.parent, below=False)
        remove_drafts(settings.artifacts)
        with draft_folder(file) as folder:
            draft = folder / DATABASE
            files = _unpack(backup, draft, settings.root)
            _adopt(draft, backup, folder_id(settings.root), settings.root)
            openings = _merge_ledger(draft, Openings(settings.root))
            kept = _set_aside(file)
            draft.rename(file)
    return Restored(file, files, kept, openings)


def _unpack(backup: Path, draft: Path, root: Path) -> int:
    """Copies the database to `draft`, and the artifacts into the storage folder. Returns how many.

    The artifacts come before the database that names them.
    """
    if not tarfile.is_tarfile(backup):
        shutil.copyfile(backup, draft)
        return 0
    files = 0
    try:
        with tarfile.open(backup) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None or not (member.name == DATABASE or member.name.startswith(FOLDERS)):
                    raise StorageError(f"{backup} has {member.name!a}, which no backup of fer-tune has.", _ANOTHER)
                target = draft if member.name == DATABASE else file_below(root, member.name)
                replace_file(target, lambda to, stream=stream: shutil.copyfileobj(stream, to))  # type: ignore[misc]
                files += target != draft
    except (tarfile.TarError, EOFError) as error:
        raise StorageError(f"{backup} is damaged: {error}.", _ANOTHER) from error
    return files


FOLDERS = tuple(f"{folder}/" for folder in FILES)
"""How the names of a backup's files begin."""

_ANOTHER = "Restore another backup. The database was not changed."


def _adopt(draft: Path, backup: Path, folder: str, root: Path) -> None:
    """Checks the draft, and makes it belong to the storage folder.

    Raises:
        StorageError: the draft is damaged, or is not a database of this or an older fer-tune.
    """
    try:
        with closing(sqlite3.connect(draft)) as connection, connection:
            [(answer,)] = connection.execute("PRAGMA integrity_check(1)").fetchall()
            [(version,)] = connection.execute("SELECT version FROM fer_schema").fetchall()
            if version == FORMAT:
                place = (folder, str(root.resolve()))
                connection.execute("UPDATE fer_schema SET folder = ?, folder_path = ?", place)
    except (sqlite3.Error, ValueError) as error:
        raise StorageError(f"{backup} is not a backup of fer-tune, or it is damaged: {error}.", _ANOTHER) from error
    if answer != "ok":
        raise StorageError(f"{backup} is damaged: {answer}.", _ANOTHER)
    if version != FORMAT and version not in UPGRADABLE:
        raise StorageError(f"{backup} was made by a newer fer-tune.", "pip install --upgrade fer-tune")


def _merge_ledger(draft: Path, ledger: Openings) -> int:
    """Moves the backup's ledger from the draft to that of the folder. Returns how many openings are
    new there. A ledger only grows, so what the folder had stays."""
    openings = ledger.merge(lines) if (lines := ledger_lines(draft)) else 0
    with closing(sqlite3.connect(draft)) as connection, connection:
        connection.execute(f"DROP TABLE IF EXISTS {LEDGER}")
    return openings


def _set_aside(file: Path) -> Path | None:
    """Moves a database and its companions to other names. Returns the database's new name.

    A companion that stayed would be taken for the new database's and damage it. So they all go
    before the new database comes.
    """
    aside = next(path for path in _names(file) if not any(_all(path)))
    kept = None
    for end in ("", *COMPANIONS):
        old = file.with_name(f"{file.name}{end}")
        if old.exists():
            old.rename(aside.with_name(f"{aside.name}{end}"))
            kept = aside
    return kept


def _names(file: Path) -> Iterator[Path]:
    yield file.with_name(f"{file.name}.before-restore")
    number = 1
    while number := number + 1:
        yield file.with_name(f"{file.name}.before-restore-{number}")


def _all(path: Path) -> Iterator[bool]:
    return (path.with_name(f"{path.name}{end}").exists() for end in ("", *COMPANIONS))
