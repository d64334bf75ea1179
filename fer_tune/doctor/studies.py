"""Examines each study: whether its images are there, and what an earlier run left unfinished."""

from __future__ import annotations

import os
from collections.abc import Iterator

from sqlalchemy.exc import SQLAlchemyError

from fer_tune.data.access import open_search
from fer_tune.doctor.findings import Finding, many, note, ok, problem, some
from fer_tune.doctor.storage import read_only
from fer_tune.errors import DataError, FerTuneError
from fer_tune.settings import Settings
from fer_tune.store import Store, StudyLock, StudyRecord
from fer_tune.store.connection import parse_url


def studies(settings: Settings) -> Iterator[Finding]:
    """Examines the studies of a database that can be read.

    `storage` says what is wrong with one that cannot.
    """
    try:
        url = parse_url(settings.url)
        if url.get_backend_name() == "sqlite" and not os.path.isfile(str(url.database)):
            return
        with read_only(settings) as store:
            for record in store.studies.all():
                found = [*_images(settings, record), *_unfinished(settings, store, record)]
                yield from found or [_well(settings, store, record)]
    except (FerTuneError, SQLAlchemyError):
        return


def _well(settings: Settings, store: Store, record: StudyRecord) -> Finding:
    jobs = many(len(store.jobs.of(record.name)), "job", "jobs")
    holder = StudyLock(settings, settings.url, record.name).holder()
    return ok(f"study {record.name}", f"{jobs}; its images are in the cache; {holder or 'nothing'} runs it")


def _images(settings: Settings, record: StudyRecord) -> Iterator[Finding]:
    what, data = f"study {record.name}", record.data_ref(settings.root)
    if not data.cache.exists():
        yield note(what, f"its images are not in the cache ({data.cache})", "The next `fer-tune run` reads them again.")
        return
    try:
        open_search(data)
    except DataError as error:
        yield problem(what, error.message, error.hint or "The next `fer-tune run` rebuilds the cache.")


def _unfinished(settings: Settings, store: Store, record: StudyRecord) -> Iterator[Finding]:
    """Notes trials that a run left when it was ended at once.

    They have checkpoints, so nothing is lost.
    """
    if StudyLock(settings, settings.url, record.name).holder():
        return
    left = [job for job in store.jobs.of(record.name, "search") if job.state == "running"]
    if left:
        found = f"{many(len(left), 'trial was', 'trials were')} interrupted: {some([job.number for job in left])}"
        yield note(f"study {record.name}", found, "The next run continues them from their checkpoints.")
