"""The ledger: each opening of the test images of a split."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, select

from fer_tune.store import tables
from fer_tune.store.database import Database, matches, now, without
from fer_tune.store.jobs import Jobs
from fer_tune.store.records import LedgerRecord
from fer_tune.store.studies import Studies


class Ledger:
    """The ledger of a database. Rows are added and never changed."""

    def __init__(self, database: Database, studies: Studies, jobs: Jobs) -> None:
        self._database, self._studies, self._jobs = database, studies, jobs

    def open_test(self, study: str, uid: str, split_hash: str, purpose: str) -> int:
        """Records that a job will be evaluated on test. Returns the id of the entry.

        Call it before the images are opened, so that every opening is recorded. If an evaluation
        was killed and is repeated, it counts as one opening: the second call returns the first
        entry.
        """
        owner = {"study_id": self._studies.key(study), "job_id": self._jobs.key(uid)}
        key: dict[str, Any] = {**owner, "split_hash": split_hash, "purpose": purpose}

        def work(tx: Connection) -> int:
            found = tx.execute(select(tables.ledger.c.id).where(matches(tables.ledger, key))).scalar()
            if found is not None:
                return int(found)
            entry = tx.execute(insert(tables.ledger).values(**key, opened=now())).inserted_primary_key
            assert entry is not None
            return int(entry[0])

        return self._database.write(work)

    def of_study(self, study: str) -> list[LedgerRecord]:
        """Returns every opening by the jobs of a study, the oldest first."""
        return self._select(tables.ledger.c.study_id == self._studies.key(study))

    def of_split(self, split_hash: str) -> list[LedgerRecord]:
        """Returns every opening of a split's test images by any study, the oldest first.

        An opening by a study that was deleted has the id 0. It was before all others that count. If
        the study was imported again, its openings are there again, and count once.
        """
        past, present = tables.past_openings, self._select(tables.ledger.c.split_hash == split_hash)
        deleted = self._database.rows(select(past).where(past.c.split_hash == split_hash).order_by(past.c.id))
        there = {(one.purpose, one.opened) for one in present}
        gone = {
            (row["purpose"], row["opened"]): LedgerRecord(**{**without(row, "id"), "id": 0, "job": None})
            for row in deleted
        }
        return [*(one for when, one in gone.items() if when not in there), *present]

    def _select(self, condition: object) -> list[LedgerRecord]:
        named = (tables.jobs.c.uid.label("job"), tables.studies.c.name.label("study"))
        query = select(tables.ledger, *named).join(tables.studies, tables.studies.c.id == tables.ledger.c.study_id)
        query = query.outerjoin(tables.jobs, tables.jobs.c.id == tables.ledger.c.job_id)
        rows = self._database.rows(query.where(condition).order_by(tables.ledger.c.id))  # type: ignore[arg-type]
        return [LedgerRecord(**without(row, "study_id", "job_id")) for row in rows]
