"""Exports one study into a file, and imports it into another storage folder.

The file is a tar archive: a database with this study alone, its split, its artifacts, and the
checkpoints of its paused trials. The images are not in it.
"""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from fer_tune.errors import StorageError, StudyError
from fer_tune.files import draft_folder, remove_drafts, replace_file, writing
from fer_tune.models.families import kept_files
from fer_tune.settings import Settings, sqlite_url
from fer_tune.store import Store, StudyLock, claim, is_run
from fer_tune.store.artifact_paths import file_below
from fer_tune.store.backup import DATABASE
from fer_tune.study.migrating import copy_studies
from fer_tune.study.storage import optuna_storage

FOLDERS = ("artifacts", "checkpoints", "cache/splits", "families", "weights")
"""Folders of a storage folder that an exported file may have files of."""

_ANOTHER = "Name a file that `fer-tune studies export` wrote. Nothing was imported."


@dataclass(frozen=True)
class Exported:
    """A study that was exported or imported.

    Attributes:
        file: the archive.
        jobs: how many the study has.
        files: how many files came with it.
    """

    study: str
    file: Path
    jobs: int
    files: int


def export_study(store: Store, settings: Settings, name: str, to: Path) -> Exported:
    """Writes a study into a file.

    Raises:
        StudyError: there is no such study, or a process runs it.
        StorageError: the file exists or cannot be written.
    """
    record = store.studies.get(name)
    if is_run(store, name):
        raise StudyError(f"The study {name} is being run.", "Wait until the run has ended, or stop it.")
    path = to / f"{name}.tar" if to.is_dir() else to
    if path.exists() or path.is_symlink():
        raise StorageError(f"{path} exists already.", "Name another file. An export replaces none.")
    files = {store.root / record.split.path}
    for folder in (
        settings.job_folder(name, record.uid, "x").parent,
        settings.checkpoint_folder(name, record.uid),
    ):
        files |= {file for file in folder.rglob("*") if not file.name.startswith(".")}
    files |= set(kept_files(record.family, settings))
    kept = sorted(file for file in files if file.is_file() and not file.is_symlink())
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(path) as draft:
            with _database(draft) as alone:
                alone.write(lambda tx: copy_studies(store, tx, [name], False))
            whole = draft / path.name
            with tarfile.open(whole, "w") as archive:
                archive.add(draft / DATABASE, DATABASE)
                for file in kept:
                    archive.add(file, file.resolve().relative_to(store.root.resolve()).as_posix(), recursive=False)
            whole.rename(path)
    return Exported(name, path, len(store.jobs.of(name)), len(kept))


def import_study(store: Store, settings: Settings, file: Path) -> Exported:
    """Adds an exported study to a database and its storage folder.

    If it is killed, the same call does it again: the files come before the rows that name them.

    Raises:
        StudyError: there is a study of its name, or the study itself has another name here.
        StorageError: the file is not an exported study, is damaged, or cannot be unpacked.
    """
    if not file.is_file():
        raise StorageError(f"{file} is not a file.", _ANOTHER)
    claim(store)
    optuna_storage(store)  # makes its tables, or refuses those of another version
    remove_drafts(settings.root, below=False)
    with writing(settings.root), draft_folder(settings.root / DATABASE) as draft:
        members = _unpack(file, draft)
        with _database(draft) as alone:
            names = [record.name for record in alone.studies.all()]
            if len(names) != 1:
                raise StorageError(f"{file} has {len(names)} studies.", _ANOTHER)
            [name] = names
            with StudyLock(settings, settings.url, name):
                if store.studies.find(name) is not None:
                    hint = f"`fer-tune studies rename {name} NEW` gives the one that is here another name."
                    raise StudyError(f"There is a study {name} already.", hint)
                uid = alone.studies.get(name).uid
                if (here := next((one.name for one in store.studies.all() if one.uid == uid), None)) is not None:
                    hint = f"`fer-tune studies delete {here}` removes it, if {file} shall replace it."
                    raise StudyError(f"The study of {file} is here already, with the name {here}.", hint)
                for member in members:
                    _copy(draft / member, settings.root / member)
                store.write(lambda tx: copy_studies(alone, tx, [name], False))
            jobs = len(alone.jobs.of(name))
    return Exported(name, file, jobs, len(members))


def _copy(source: Path, target: Path) -> None:
    """Copies a file, whole or not at all."""
    with source.open("rb") as stream:
        replace_file(target, lambda out: shutil.copyfileobj(stream, out))


def _database(folder: Path) -> Store:
    """Opens the database of an archive. A new one gets its tables."""
    store = Store.of(Settings(folder, sqlite_url(folder / DATABASE)))
    optuna_storage(store)
    return store


def _unpack(file: Path, draft: Path) -> list[Path]:
    """Unpacks an archive. Returns the files that belong into the storage folder.

    Raises:
        StorageError: it is damaged, or has something that no export has.
    """
    members = []
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None or not _allowed(member.name):
                    raise StorageError(f"{file} has {member.name!a}, which no exported study has.", _ANOTHER)
                target = file_below(draft, member.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as out:
                    shutil.copyfileobj(stream, out)
                if member.name != DATABASE:
                    members.append(Path(member.name))
    except (tarfile.TarError, EOFError) as error:
        why = str(error).partition("\n")[0].rstrip(":. ")  # tarfile tells a line for each format that it tried
        raise StorageError(f"{file} is damaged, or is not an exported study: {why}.", _ANOTHER) from error
    if not (draft / DATABASE).is_file():
        raise StorageError(f"{file} has no database.", _ANOTHER)
    return members


def _allowed(name: str) -> bool:
    """Returns whether an exported study may have a member of this name."""
    below = name.startswith(tuple(f"{folder}/" for folder in FOLDERS))
    return name == DATABASE or (below and ".." not in Path(name).parts)
