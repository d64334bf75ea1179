"""Epochs: what was measured after each epoch, by job and attempt."""

from __future__ import annotations

from dataclasses import fields
from math import isnan
from typing import Any

from sqlalchemy import RowMapping, bindparam, func, select

from fer_tune.errors import StorageError
from fer_tune.job import EpochRow, Kind, merged
from fer_tune.store import tables
from fer_tune.store.database import Database, insert_new, now
from fer_tune.store.jobs import Jobs
from fer_tune.store.row_statement import RowStatement
from fer_tune.store.studies import Studies

MEASURES = (
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "val_macro_f1",
    "val_balanced_accuracy",
    "lr",
    "seconds",
    "images_per_second",
    "device_seconds",
)
"""The fields of an `EpochRow` that are measured numbers."""


class Epochs:
    """The epochs of a database."""

    def __init__(self, database: Database, studies: Studies, jobs: Jobs) -> None:
        self._database, self._studies, self._jobs = database, studies, jobs
        self._insert = RowStatement(insert_new(database.engine, tables.epochs))

    def add(self, row: EpochRow) -> None:
        """Records one epoch of a started attempt. A second call for the same epoch changes nothing.

        Raises:
            StorageError: the attempt was not started.
        """
        values: dict[str, Any] = {name: getattr(row, name) for name in MEASURES}
        values |= {"job_id": self._jobs.key(row.job), "attempt": row.attempt, "epoch": row.epoch}
        values["recall"] = [None if isnan(value) else value for value in row.recall]  # JSON has no nan
        values["recorded"] = now()
        database = self._database
        database.pending.add_row(self._insert, tables.epochs, values, lambda: _not_started(row))
        database.written()

    def all(self, study: str, uid: str | None = None) -> list[EpochRow]:
        """Returns every recorded epoch of a study's jobs, or of one job.

        Returns:
            The rows in the order of job, attempt and epoch.

        Raises:
            StudyError: the study does not exist.
        """
        of_study = {"study": self._studies.key(study)}
        if uid is None:
            return [_row(row) for row in self._database.rows(_OF_STUDY, of_study)]
        return [_row(row) for row in self._database.rows(_OF_JOB, of_study | {"of_uid": uid})]

    def curves(self, study: str) -> dict[str, list[EpochRow]]:
        """Returns the epochs that count by the uid of the job; see `job.merged`.

        Jobs without an epoch are left out.
        """
        found: dict[str, list[EpochRow]] = {}
        for row in self.all(study):
            merged(found.setdefault(row.job, []), row)
        return found

    def curve(self, study: str, uid: str) -> list[EpochRow]:
        """Returns the epochs of one job that count; see `job.merged`."""
        curve: list[EpochRow] = []
        for row in self.all(study, uid):
            merged(curve, row)
        return curve

    def trained(self, study: str, kind: Kind) -> dict[str, tuple[int, float]]:
        """Returns number and device-seconds of the epochs that count, by the uid of the job.

        The database adds them up, so a long study takes no longer to load.
        """
        table, jobs = tables.epochs, tables.jobs
        several = (func.max(table.c.attempt) != func.min(table.c.attempt)).label("several")
        query = (
            select(jobs.c.uid, func.count().label("epochs"), func.sum(table.c.device_seconds).label("seconds"), several)
            .join(table, table.c.job_id == jobs.c.id)
            .where(jobs.c.study_id == self._studies.key(study), jobs.c.kind == kind)
            .group_by(jobs.c.id, jobs.c.uid)
        )
        found: dict[str, tuple[int, float]] = {}
        for row in self._database.rows(query):
            found[row["uid"]] = (row["epochs"], float(row["seconds"] or 0.0))
            if row["several"]:
                curve = self.curve(study, row["uid"])
                found[row["uid"]] = (len(curve), sum(epoch.device_seconds for epoch in curve))
        return found


# They are made once, because SQLAlchemy takes longer to make a query than SQLite to answer it.
_FIELDS = [field.name for field in fields(EpochRow)]
_OF_STUDY = (
    select(tables.jobs.c.uid.label("job"), *(tables.epochs.c[name] for name in _FIELDS if name != "job"))
    .join(tables.jobs, tables.jobs.c.id == tables.epochs.c.job_id)
    .where(tables.jobs.c.study_id == bindparam("study"))
    .order_by(tables.epochs.c.job_id, tables.epochs.c.attempt, tables.epochs.c.epoch)
)
_OF_JOB = _OF_STUDY.where(tables.jobs.c.uid == bindparam("of_uid"))


def _not_started(row: EpochRow) -> StorageError:
    return StorageError(f"Attempt {row.attempt} of job {row.job} was not started.")


def _row(row: RowMapping) -> EpochRow:
    """Returns an epoch. The columns of `_OF_STUDY` are the fields of an `EpochRow`, in order."""
    values: dict[str, Any] = dict(zip(_FIELDS, row.values(), strict=True))
    values["recall"] = tuple(float("nan") if value is None else float(value) for value in values["recall"])
    return EpochRow(**values)
