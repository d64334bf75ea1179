"""Gives a study another name: its rows, and the folders that are named after it."""

from __future__ import annotations

import re
from contextlib import ExitStack, suppress
from pathlib import Path

from sqlalchemy import Connection, func, select, update

from fer_tune.errors import StudyError
from fer_tune.files import writing
from fer_tune.settings import STUDY_NAME, Settings
from fer_tune.store import Store, StudyLock, claim, confirm_lock, final_lock, is_run, tables
from fer_tune.study.optuna_queries import STUDIES
from fer_tune.study.storage import optuna_storage


def rename_study(store: Store, settings: Settings, name: str, to: str) -> None:
    """Renames a study. If it is killed, the same call completes it.

    Copies that trackers have keep the old name. So does the ledger's file.

    Raises:
        StudyError: there is no such study, the new name is taken or not valid, or a process runs
            the study.
        StorageError: the database belongs to another storage folder, or a folder cannot be moved.
    """
    if not re.fullmatch(STUDY_NAME, to):
        raise StudyError(
            f"{to!r} is not a valid study name.", "Use 1 to 64 of A-Z a-z 0-9 . _ - and no dot at the ends."
        )
    record = store.studies.get(name)
    claim(store)
    optuna_storage(store)  # makes its tables, or refuses those of another version
    jobs = store.jobs.of(name)
    batches = {str(job.origin["batch"]) for job in jobs if job.kind == "final" and "batch" in job.origin}
    if any(is_run(store, lock) for lock in (confirm_lock(name), *(final_lock(name, batch) for batch in batches))):
        raise StudyError(f"The study {name} is being confirmed or retrained.", "Wait for that, or stop it.")
    with ExitStack() as held:
        for one in dict.fromkeys((name, to)):  # once if the names are equal
            held.enter_context(StudyLock(settings, settings.url, one))
        if store.studies.find(to) is not None or _in_optuna(store, to):
            raise StudyError(f"There is a study {to} already.", "Choose another name.")
        moves = [
            (settings.job_folder(name, record.uid, "x").parent, settings.job_folder(to, record.uid, "x").parent),
            (settings.checkpoint_folder(name, record.uid), settings.checkpoint_folder(to, record.uid)),
        ]
        done: list[tuple[Path, Path]] = []
        try:
            for old, new in moves:
                if old.exists():  # else an earlier call that was killed has moved it
                    with writing(new):
                        old.rename(new)
                    done.append((old, new))
            store.write(lambda tx: _rename_rows(tx, name, to, f"{name}-{record.uid}/", f"{to}-{record.uid}/"))
        except BaseException:
            for old, new in done:
                with suppress(OSError):
                    new.rename(old)
            raise


def _in_optuna(store: Store, name: str) -> bool:
    return bool(store.rows(select(STUDIES.c.study_id).where(STUDIES.c.study_name == name)))


def _rename_rows(tx: Connection, name: str, to: str, old: str, new: str) -> None:
    """Renames a study in Optuna's table and in ours, and the paths of its artifacts."""
    ours, files = tables.studies, tables.artifacts
    tx.execute(update(STUDIES).where(STUDIES.c.study_name == name).values(study_name=to))
    key = select(ours.c.id).where(ours.c.name == name).scalar_subquery()
    moved = func.replace(files.c.path, f"artifacts/{old}", f"artifacts/{new}")
    tx.execute(update(files).where(files.c.study_id == key, files.c.path.contains(old)).values(path=moved))
    tx.execute(update(ours).where(ours.c.name == name).values(name=to))
