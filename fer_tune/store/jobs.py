"""Jobs, and the attempts at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, bindparam, insert, select, update

from fer_tune.errors import StorageError
from fer_tune.job import Job, JobEnd, Kind
from fer_tune.store import tables
from fer_tune.store.artifact_paths import described
from fer_tune.store.artifacts import put
from fer_tune.store.database import Database, insert_new, matches, now, without
from fer_tune.store.pending import COUNTING
from fer_tune.store.records import AttemptRecord, JobRecord
from fer_tune.store.studies import Studies


class Jobs:
    """The jobs of a database, and the attempts at them. A job is named by its uid."""

    def __init__(self, database: Database, studies: Studies) -> None:
        self._database, self._studies = database, studies
        self._ids: dict[str, int] = {}
        self._insert_attempt = insert_new(database.engine, tables.attempts)

    # jobs ---------------------------------------------------------------------------------------------------------

    def put(self, job: Job, mirrored: bool = True, origin: Mapping[str, Any] | None = None) -> None:
        """Records a job that will be trained.

        A job that is recorded already is queued again, under the trial number of `job`.

        Args:
            mirrored: whether trackers may copy the job.
            origin: see `JobRecord.origin`.

        Raises:
            StudyError: the study does not exist.
        """
        changing = {"number": job.number, "until": job.until, "state": "queued"}
        changing |= {"reason": "", "value": None, "ended": None}
        values = {
            "uid": job.uid,
            "study_id": self._studies.key(job.study),
            "kind": job.kind,
            "name": job.name,
            "params": dict(job.params),
            "seed": job.seed,
            "schedule": job.schedule,
            "fit": job.fit,
            "mirrored": mirrored,
            "origin": dict(origin or {}),
            "created": now(),
        }
        row = values | changing
        made: dict[str, int] = {}

        def work(tx: Connection) -> None:
            if tx.execute(_REQUEUE, {"the_uid": job.uid, **changing}).rowcount == 0:
                made[job.uid] = (tx.execute(_ADD, row).inserted_primary_key or (0,))[0]

        self._database.later(work, lambda: self._ids.update(made))

    def set_state(self, uid: str, state: str, reason: str = "", value: float | None = None) -> None:
        """Records the state of a job; see `jobs.states`.

        Args:
            reason: why the job ended so.
            value: the objective, or None.
        """
        over = state in ("complete", "pruned", "failed")
        values = {"state": state, "reason": reason, "value": value, "ended": now() if over else None}
        self._database.later(lambda tx: tx.execute(_SET_STATE, {"the_uid": uid, **values}))

    def get(self, uid: str) -> JobRecord:
        """Returns the job with this uid.

        Raises:
            StorageError: the job does not exist.
        """
        found = self._select(tables.jobs.c.uid == uid)
        if not found:
            raise self._unknown(uid)
        return found[0]

    def of(self, study: str, kind: Kind | None = None) -> list[JobRecord]:
        """Returns the jobs of a study, of one kind or of all kinds, the oldest first.

        Raises:
            StudyError: the study does not exist.
        """
        conditions: list[ColumnElement[bool]] = [tables.jobs.c.study_id == self._studies.key(study)]
        return self._select(*conditions, *([tables.jobs.c.kind == kind] if kind else []))

    def unfinished(self, study: str) -> list[JobRecord]:
        """Returns the jobs of a study that are queued, running or paused, the oldest first."""
        of_study = tables.jobs.c.study_id == self._studies.key(study)
        return self._select(of_study, tables.jobs.c.state.in_(("queued", "running", "paused")))

    def paused_above(self, study: str, value: float) -> list[JobRecord]:
        """Returns the paused trials with a higher value than this, the best one first."""
        of_study = (tables.jobs.c.study_id == self._studies.key(study)) & (tables.jobs.c.kind == "search")
        found = self._select(of_study, tables.jobs.c.state == "paused", tables.jobs.c.value > value)
        return sorted(found, key=lambda job: -(job.value or 0.0))

    def states(self, study: str, kind: Kind) -> dict[str, str]:
        """Returns the state of each job of a study and kind, by its uid."""
        of_kind = (tables.jobs.c.study_id == self._studies.key(study)) & (tables.jobs.c.kind == kind)
        rows = self._database.rows(select(tables.jobs.c.uid, tables.jobs.c.state).where(of_kind))
        return {row["uid"]: row["state"] for row in rows}

    def find_trial(self, study: str, number: int) -> JobRecord | None:
        """Returns the job that has this trial number now, or None.

        It is the newest one, because Optuna gives the number of a deleted trial again.
        """
        key = {"study_id": self._studies.key(study), "kind": "search", "number": number}
        return next(reversed(self._select(matches(tables.jobs, key))), None)

    def renumber(self, study: str, number: int, to: int, reason: str) -> None:
        """Queues a trial's job again under another trial number.

        Does nothing if the trial has no job yet.

        Args:
            to: the new number.
            reason: why it is queued again.
        """
        key = {"study_id": self._studies.key(study), "kind": "search", "number": number}
        values = {"number": to, "state": "queued", "reason": reason}
        this = matches(tables.jobs, key)
        self._database.later(lambda tx: tx.execute(update(tables.jobs).where(this).values(**values)))

    def key(self, uid: str) -> int:
        """Returns the job's key in the tables. It never changes, so it is read only once.

        Raises:
            StorageError: the job does not exist.
        """
        if uid not in self._ids:
            rows = self._database.rows(select(tables.jobs.c.id).where(tables.jobs.c.uid == uid))
            if not rows:
                raise self._unknown(uid)
            self._ids[uid] = rows[0]["id"]
        return self._ids[uid]

    def _select(self, *conditions: ColumnElement[bool]) -> list[JobRecord]:
        query = select(tables.jobs, tables.studies.c.name.label("study")).join(tables.studies)
        rows = self._database.rows(query.where(*conditions).order_by(tables.jobs.c.id))
        return [JobRecord(**without(row, "id", "study_id")) for row in rows]

    def _unknown(self, uid: str) -> StorageError:
        return StorageError(
            f"There is no job {uid} in {self._database.shown}.", "Somebody deleted it while it was in use."
        )

    # attempts -----------------------------------------------------------------------------------------------------

    def start_attempt(self, job: Job, worker: int, device: str, lane: int = 0) -> None:
        """Records that a worker starts an attempt. The job's state becomes `running`.

        A second call for the same attempt changes nothing.

        Args:
            worker: index of the worker.
            device: `cpu` or `cuda:N`.
            lane: of the worker.
        """
        key = {"job_id": self.key(job.uid), "attempt": job.attempt}
        values = {**key, "worker": worker, "lane": lane, "device": device, "started": now(), **_NOTHING_YET}

        def work(tx: Connection) -> None:
            if tx.execute(self._insert_attempt, values, execution_options=COUNTING).rowcount:
                tx.execute(_RUN, {"the_job": key["job_id"], "state": "running"})

        self._database.later(work)

    def end_attempt(self, end: JobEnd) -> None:
        """Records how an attempt ended, and the files that it left, in one transaction.

        A missing file becomes a note of the attempt and not an error, because the job's end must be
        recorded. If the attempt has ended already, nothing changes.

        Raises:
            StorageError: the attempt was not started, or a file is outside the storage folder.
        """
        present = {kind: path for kind, path in end.files.items() if path.is_file()}
        gone = [f"{kind} was not found at {end.files[kind]}" for kind in end.files.keys() - present.keys()]
        files = [self._file(kind, path) for kind, path in sorted(present.items())]
        values: dict[str, Any] = {name: getattr(end, name) for name in ("status", "reason", "detail", "parameters")}
        values |= {"notes": [*end.notes, *sorted(gone)], "ended": now()}
        key = {"the_job": self.key(end.job), "the_attempt": end.attempt}

        def work(tx: Connection) -> None:
            if tx.execute(_END_ATTEMPT, key | values).rowcount == 0:
                this = {"job_id": key["the_job"], "attempt": end.attempt}
                if tx.execute(select(tables.attempts.c.attempt).where(matches(tables.attempts, this))).first() is None:
                    raise StorageError(f"Attempt {end.attempt} of job {end.job} was not started.")
                return
            for file in files:
                put(tx, file | {"study_id": tx.scalar(_STUDY_OF, key), "job_id": key["the_job"]})

        self._database.later(work)

    def _file(self, kind: str, path: Path) -> dict[str, Any]:
        return described(self._database.root, kind, path)

    def abandon_attempts(self, study: str, kind: Kind, reason: str) -> int:
        """Ends all open attempts of a study's jobs of one kind as `lost`. Returns how many.

        The caller must hold the lock of these jobs, so that no other process trains them.
        """
        of_kind = [tables.jobs.c.study_id == self._studies.key(study), tables.jobs.c.kind == kind]
        return self._abandon(reason, *of_kind)

    def abandon_attempts_of(self, uid: str, reason: str) -> int:
        """Ends the open attempts of one job as `lost`. Returns how many."""
        return self._abandon(reason, tables.jobs.c.uid == uid)

    def _abandon(self, reason: str, *conditions: ColumnElement[bool]) -> int:
        jobs = select(tables.jobs.c.id).where(*conditions)
        still_open = tables.attempts.c.ended.is_(None) & tables.attempts.c.job_id.in_(jobs)
        values = {"status": "lost", "reason": reason, "ended": now()}
        return self._database.write(
            lambda tx: tx.execute(update(tables.attempts).where(still_open).values(**values)).rowcount
        )

    def attempts(self, study: str, uid: str | None = None) -> list[AttemptRecord]:
        """Returns the attempts at a study's jobs, or at one job, in the order of job and attempt.

        Raises:
            StudyError: the study does not exist.
        """
        of_study = {"study": self._studies.key(study)}
        if uid is None:
            return [_attempt(row) for row in self._database.rows(_ATTEMPTS, of_study)]
        return [_attempt(row) for row in self._database.rows(_ATTEMPTS_OF_JOB, of_study | {"the_uid": uid})]


def _changing(table: Table, *names: str) -> dict[str, Any]:
    return {name: bindparam(name, type_=table.c[name].type) for name in names}


_OF_UID = tables.jobs.c.uid == bindparam("the_uid")
_OF_ID = tables.jobs.c.id == bindparam("the_job")
_OPEN = (
    (tables.attempts.c.job_id == bindparam("the_job"))
    & (tables.attempts.c.attempt == bindparam("the_attempt"))
    & tables.attempts.c.ended.is_(None)
)

# They are made once, because SQLAlchemy takes longer to make a statement than SQLite to execute it.
_ADD = insert(tables.jobs)
_REQUEUE = (
    update(tables.jobs)
    .where(_OF_UID)
    .values(**_changing(tables.jobs, "number", "until", "state", "reason", "value", "ended"))
)
_SET_STATE = update(tables.jobs).where(_OF_UID).values(**_changing(tables.jobs, "state", "reason", "value", "ended"))
_RUN = update(tables.jobs).where(_OF_ID).values(**_changing(tables.jobs, "state"))
_STUDY_OF = select(tables.jobs.c.study_id).where(_OF_ID)
_END_ATTEMPT = (
    update(tables.attempts)
    .where(_OPEN)
    .values(**_changing(tables.attempts, "status", "reason", "detail", "parameters", "notes", "ended"))
)

_ATTEMPTS = (
    select(tables.attempts, tables.jobs.c.uid.label("job"), tables.jobs.c.kind, tables.jobs.c.number)
    .join(tables.jobs)
    .where(tables.jobs.c.study_id == bindparam("study"))
    .order_by(tables.attempts.c.job_id, tables.attempts.c.attempt)
)
_ATTEMPTS_OF_JOB = _ATTEMPTS.where(_OF_UID)

_NOTHING_YET: dict[str, Any] = {"reason": "", "detail": "", "parameters": 0, "notes": []}


def _attempt(row: RowMapping) -> AttemptRecord:
    record = AttemptRecord(**without(row, "job_id"))
    return replace(record, notes=tuple(record.notes))
