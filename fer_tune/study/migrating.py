"""Copies all studies of one database to another: Optuna's rows and ours, in one transaction.

The files of the jobs stay where they are. From then on they belong to the copy, and the old
database can only be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from optuna.storages._rdb import models
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from fer_tune.errors import StorageError, StudyError
from fer_tune.settings import Settings
from fer_tune.store import Store, StudyLock, claim, confirm_lock, final_lock, is_run, tables
from fer_tune.store.connection import explain, parse_url
from fer_tune.store.copy_rows import Row, TableFamily, without_key
from fer_tune.store.database import insert_new
from fer_tune.store.folder import has_moved, move_to
from fer_tune.study.storage import optuna_storage

Lock = Callable[[Settings, str, str], StudyLock]


@dataclass(frozen=True)
class Migrated:
    """What was copied.

    Attributes:
        studies: their names.
        jobs: how many they have.
        rows: how many rows of all tables were read back and found equal.
        already: whether an earlier call had copied them.
    """

    studies: tuple[str, ...]
    jobs: int
    rows: int
    already: bool


def migrate(source: Store, target: Store, root: Settings, locks: Sequence[Lock] = (StudyLock,)) -> Migrated:
    """Copies all studies, reads the copy back, and compares it row by row.

    If it is killed, the target has either nothing or everything, and the same call completes it.

    Args:
        root: the storage folder of both databases.
        locks: what a process holds that writes a study.

    Raises:
        StudyError: there is no study, or a process writes one.
        StorageError: the target has a study of the same name, or belongs to another storage folder.
            Or a row could not be written, or differs.
    """
    if source.url == target.url:
        raise StorageError(f"--from and --to name the same database, {source.shown}.", "Name two databases.")
    names = [record.name for record in source.studies.all()]
    if not names:
        raise StudyError(f"There is no study in {source.shown}.", "Name another database with --from.")
    with ExitStack() as held:
        for store in (source, target):
            for name in names:
                _refuse_running(store, name)
                for lock in locks:
                    held.enter_context(lock(root, store.url, name))
        if not has_moved(source):
            claim(source)
        claim(target)
        for store in (source, target):
            optuna_storage(store)  # makes its tables, or refuses those of another version
        already = _is_there(source, target, names)
        try:
            rows = target.write(lambda tx: copy_studies(source, tx, names, already))
        except IntegrityError as error:
            raise explain(error, parse_url(target.url)) from error
        except StorageError as error:
            raise _taken(target, names) if already else error from error
        move_to(source, target)
    jobs = sum(len(source.jobs.of(name)) for name in names)
    return Migrated(tuple(names), jobs, rows, already)


def _refuse_running(store: Store, name: str) -> None:
    batches = set()
    if store.studies.find(name) is not None:
        batches = {str(job.origin["batch"]) for job in store.jobs.of(name, "final") if "batch" in job.origin}
    if any(is_run(store, lock) for lock in (confirm_lock(name), *(final_lock(name, batch) for batch in batches))):
        raise StudyError(f"The study {name} is being confirmed or retrained.", "Wait for that, or stop it.")


def _is_there(source: Store, target: Store, names: Sequence[str]) -> bool:
    """Returns whether the target has these studies already, because an earlier call copied them.

    Raises:
        StorageError: it has another study of one of the names.
    """
    uids = [(source.studies.get(name).uid, target.studies.find(name)) for name in names]
    if all(found is not None and found.uid == uid for uid, found in uids):
        return True
    taken = [found.name for _, found in uids if found is not None]
    with target.engine.connect() as connection:
        theirs = models.StudyModel.__table__
        query = select(theirs.c.study_name).where(theirs.c.study_name.in_(names))
        taken += [name for name in connection.execute(query).scalars() if name not in taken]
    if taken:
        raise _taken(target, taken)
    return False


def _taken(target: Store, names: Sequence[str]) -> StorageError:
    return StorageError(
        f"{target.shown} has a study {', '.join(sorted(names))} already, and it is not the same.",
        "Name another database with --to. `fer-tune studies delete NAME` deletes a study there.",
    )


def copy_studies(source: Store, target: Connection, names: Sequence[str], already: bool) -> int:
    """Copies and compares in one transaction of the target, and returns the number of rows.

    Args:
        already: whether the target has the studies, so that they are only compared.
    """
    rows = 0
    with source.engine.connect() as connection:
        if not already:
            _copy_shared(connection, target, names)
        for family in _families():
            if already:
                family.match(connection, target, names)
            else:
                family.copy(connection, target, names)
            rows += family.compare(connection, target, names)
    return rows


def _families() -> tuple[TableFamily, TableFamily]:
    """Returns our tables and Optuna's."""
    ours = (
        tables.studies,
        tables.jobs,
        tables.attempts,
        tables.epochs,
        tables.artifacts,
        tables.ledger,
        tables.cursors,
    )
    optunas = [table for table in models.BaseModel.metadata.sorted_tables if table.name != "version_info"]
    trials, studies = models.TrialModel.__table__, models.StudyModel.__table__
    return (
        TableFamily(ours, "name", {"study_id": tables.studies, "job_id": tables.jobs}),
        TableFamily(optunas, "study_name", {"study_id": studies, "trial_id": trials}),
    )


def _copy_shared(source: Connection, target: Connection, names: Sequence[str]) -> None:
    """Copies what studies share: the splits, and the openings of test by studies that were deleted.

    What the target has already is left out.
    """
    used = select(tables.studies.c.split_hash).where(tables.studies.c.name.in_(names))
    opened = select(tables.ledger.c.split_hash)
    condition = tables.splits.c.hash.in_(used.union(opened))
    splits = [dict(row) for row in source.execute(select(tables.splits).where(condition)).mappings()]
    target.execute(insert_new(target.engine, tables.splits), splits)
    hashes = [split["hash"] for split in splits]
    past = tables.past_openings
    known = [_plain(row) for row in target.execute(select(past)).mappings()]
    for row in source.execute(select(past).where(past.c.split_hash.in_(hashes)).order_by(past.c.id)).mappings():
        if _plain(row) in known:
            known.remove(_plain(row))
        else:
            target.execute(insert(past).values(**_plain(row)))


def _plain(row: object) -> Row:
    return without_key(dict(row), tables.past_openings.c.id)  # type: ignore[call-overload]
