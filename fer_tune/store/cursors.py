"""Cursors: how far each tracker's mirror has copied each job."""

from __future__ import annotations

from sqlalchemy import select

from fer_tune.store import tables
from fer_tune.store.database import Database, insert_new, without
from fer_tune.store.jobs import Jobs
from fer_tune.store.records import Cursor
from fer_tune.store.studies import Studies

CHANGING = ("run", "attempt", "epoch", "finished")


class Cursors:
    """The cursors of a database, by tracker and job."""

    def __init__(self, database: Database, studies: Studies, jobs: Jobs) -> None:
        self._database, self._studies, self._jobs = database, studies, jobs
        self._put = insert_new(database.engine, tables.cursors, replace=CHANGING)

    def of(self, study: str, tracker: str) -> dict[str, Cursor]:
        """Returns the cursors of a study's jobs that a tracker's mirror has begun to copy.

        Returns:
            The cursors by the uid of the job.
        """
        query = select(tables.cursors, tables.jobs.c.uid.label("job")).join(tables.jobs)
        query = query.where(tables.jobs.c.study_id == self._studies.key(study), tables.cursors.c.tracker == tracker)
        rows = self._database.rows(query.order_by(tables.cursors.c.job_id))
        return {row["job"]: Cursor(**without(row, "job_id")) for row in rows}

    def set(self, cursor: Cursor) -> None:
        """Writes the cursor of one job and tracker."""
        row = {name: getattr(cursor, name) for name in ("tracker", *CHANGING)} | {"job_id": self._jobs.key(cursor.job)}
        self._database.later(lambda tx: tx.execute(self._put, row))
