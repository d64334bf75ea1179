"""Deletes a study whole: its trials, rows, files, and how far trackers have copied it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import delete, select

from fer_tune.errors import StorageError, StudyError
from fer_tune.files import writing
from fer_tune.settings import Settings
from fer_tune.store import Store, StudyLock, claim, confirm_lock, final_lock, is_run
from fer_tune.study.storage import optuna_storage
from fer_tune.study.trial_writes import PARAMS, REPORTED, SYSTEM, TRIALS, USER, VALUES


@dataclass(frozen=True)
class Deleted:
    """What was deleted.

    Attributes:
        study: name of the study.
        jobs: how many it had.
        files: how many files below the storage folder.
    """

    study: str
    jobs: int
    files: int


def delete_study(store: Store, settings: Settings, name: str) -> Deleted:
    """Deletes a study. If it is killed, the same call deletes the rest.

    The record of the study goes last, because everything else is found by it. Copies that trackers
    have stay.

    Raises:
        StudyError: there is no such study, or a process runs it.
        StorageError: the database belongs to another storage folder, or a file cannot be deleted.
    """
    record = store.studies.get(name)
    claim(store)
    jobs = store.jobs.of(name)
    batches = {str(job.origin["batch"]) for job in jobs if job.kind == "final" and "batch" in job.origin}
    if any(is_run(store, lock) for lock in (confirm_lock(name), *(final_lock(name, batch) for batch in batches))):
        raise StudyError(f"The study {name} is being confirmed or retrained.", "Wait for that, or stop it.")
    with StudyLock(settings, settings.url, name):
        storage = optuna_storage(store)
        with suppress(KeyError):  # another program has deleted it
            store.patiently(lambda: storage.delete_study(storage.get_study_id_from_name(name)))
        store.patiently(partial(_delete_orphans, store))
        files = 0
        for folder in (
            settings.job_folder(name, record.uid, "x").parent,
            settings.checkpoint_folder(name, record.uid),
        ):
            files += _delete(folder)
        for picture in sorted(settings.pictures.glob(f"*{record.uid}-*")):
            with writing(picture):
                picture.unlink(missing_ok=True)
            files += 1
        store.studies.delete(name)
    return Deleted(name, len(jobs), files)


def _delete_orphans(store: Store) -> None:
    """Deletes rows of trials that do not exist.

    Optuna first reads what it deletes. A row that a run writes meanwhile is left. The key of its
    trial may be given again, and the row would then belong to a trial of another study.
    """
    with store.engine.begin() as tx:
        for table in (PARAMS, VALUES, REPORTED, USER, SYSTEM):
            tx.execute(delete(table).where(table.c.trial_id.not_in(select(TRIALS.c.trial_id))))


def _delete(folder: Path) -> int:
    """Deletes a folder. Returns the number of its files."""
    files = sum(path.is_file() for path in folder.rglob("*"))
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageError(f"{folder} cannot be deleted: {error}.", "Make it writable, then run this again.") from error
    return files
