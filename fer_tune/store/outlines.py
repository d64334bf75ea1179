"""What a view of a whole study needs of its jobs and attempts, without what it shows of only a few.

A study of 10,000 trials has 100,000 epochs. So the database counts them, and no object is made of
each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, func, null, select

from fer_tune.job import Kind
from fer_tune.store import tables
from fer_tune.store.store import Store


class JobOutline(NamedTuple):
    """A job, and its epochs in sum. `store.JobRecord` describes the first fields.

    Attributes:
        origin: of a final fit; None for a job of a search.
        epochs: how many epochs count; see `job.merged`.
        reached: the last of them.
        seconds: what all of them took.
        device_seconds: the job's share of its device in that time.
    """

    uid: str
    state: str
    value: float | None
    reason: str
    number: int | None
    name: str | None
    schedule: int
    until: int | None
    ended: datetime | None
    origin: Mapping[str, Any] | None
    epochs: int
    reached: int
    seconds: float
    device_seconds: float

    @property
    def last_epoch(self) -> int:
        """The last epoch that the job trains if it is not stopped. A paused trial may continue."""
        return self.schedule if self.number is not None else self.until or self.schedule


class AttemptOutline(NamedTuple):
    """An attempt; see `store.AttemptRecord`."""

    job: str
    attempt: int
    worker: int
    lane: int
    device: str
    started: datetime
    ended: datetime | None


def job_outlines(store: Store, study: str, kind: Kind) -> list[JobOutline]:
    """Returns the jobs of one kind, the oldest first.

    Raises:
        StudyError: the study does not exist.
    """
    jobs, sums = tables.jobs, _sums(store.studies.key(study), kind).subquery()
    names = ("uid", "state", "value", "reason", "number", "name", "schedule", "until", "ended")
    origin = null() if kind == "search" else jobs.c.origin
    of_epochs = (func.coalesce(sums.c[name], 0) for name in ("epochs", "reached", "seconds", "device_seconds"))
    query = (
        select(*(jobs.c[name] for name in names), origin, *of_epochs)
        .outerjoin(sums, sums.c.job_id == jobs.c.id)
        .where(jobs.c.study_id == store.studies.key(study), jobs.c.kind == kind)
        .order_by(jobs.c.id)
    )
    return [JobOutline(*row) for row in _tuples(store, query)]


def _sums(study_id: int, kind: Kind) -> Select[Any]:
    """Returns a query that sums up the epochs that count, by job.

    An epoch does not count if a later attempt trained it, or an earlier epoch, again: `job.merged`.
    """
    row, later, jobs = tables.epochs.alias("row"), tables.epochs.alias("later"), tables.jobs
    again = select(later.c.epoch).where(
        later.c.job_id == row.c.job_id, later.c.attempt > row.c.attempt, later.c.epoch <= row.c.epoch
    )
    of_kind = select(jobs.c.id).where(jobs.c.study_id == study_id, jobs.c.kind == kind)
    return (
        select(
            row.c.job_id,
            func.count().label("epochs"),
            func.max(row.c.epoch).label("reached"),
            func.sum(row.c.seconds).label("seconds"),
            func.sum(row.c.device_seconds).label("device_seconds"),
        )
        .where(row.c.job_id.in_(of_kind), ~again.exists())
        .group_by(row.c.job_id)
    )


def attempt_outlines(store: Store, study: str, kind: Kind) -> list[AttemptOutline]:
    """Returns the attempts at the jobs of one kind, in the order in which they started.

    Raises:
        StudyError: the study does not exist.
    """
    jobs, attempts = tables.jobs, tables.attempts
    names = ("attempt", "worker", "lane", "device", "started", "ended")
    query = (
        select(jobs.c.uid, *(attempts.c[name] for name in names))
        .join(jobs, jobs.c.id == attempts.c.job_id)
        .where(jobs.c.study_id == store.studies.key(study), jobs.c.kind == kind)
        .order_by(attempts.c.started, attempts.c.job_id, attempts.c.attempt)
    )
    return [AttemptOutline(*row) for row in _tuples(store, query)]


def _tuples(store: Store, query: Select[Any]) -> Sequence[Sequence[Any]]:
    """Returns rows as tuples, which take less time than `Store.rows` where there are many."""

    def work() -> Sequence[Sequence[Any]]:
        with store.engine.connect() as connection:
            return connection.execute(query).all()

    return store.patiently(work)
