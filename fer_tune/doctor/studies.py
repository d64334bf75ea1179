"""Examines each study: whether its images are there, and what an earlier run left unfinished."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from fer_tune.data.access import open_search
from fer_tune.doctor.findings import Finding, many, note, ok, problem, some
from fer_tune.doctor.storage import read_only
from fer_tune.errors import DataError, FerTuneError
from fer_tune.settings import Settings
from fer_tune.store import Store, StudyLock, StudyRecord


def studies(settings: Settings) -> Iterator[Finding]:
    """Examines the studies of a database that can be read. `storage` says what is wrong with
    another one."""
    try:
        with read_only(settings) as store:
            for record in store.studies.all():
                yield from _study(settings, store, record)
    except (FerTuneError, SQLAlchemyError):
        return


def _study(settings: Settings, store: Store, record: StudyRecord) -> Iterator[Finding]:
    what, data, jobs = f"study {record.name}", record.data_ref(settings.root), store.jobs.of(record.name)
    holder = StudyLock(settings, settings.url, record.name).holder()
    left = [job.number for job in jobs if job.kind == "search" and job.state == "running" and not holder]
    try:
        if there := data.cache.exists():
            open_search(data)
        else:
            yield note(what, f"its images are not in the cache ({data.cache})", "The next `fer-tune run` reads them.")
    except DataError as error:
        yield problem(what, error.message, error.hint or "The next `fer-tune run` rebuilds the cache.")
        there = False
    if left:
        found = f"{many(len(left), 'trial was', 'trials were')} interrupted: {some(left)}"
        yield note(what, found, "The next run continues them from their checkpoints.")
    elif there:
        yield ok(what, f"{many(len(jobs), 'job', 'jobs')}; its images are in the cache; {holder or 'nothing'} runs it")
