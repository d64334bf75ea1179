"""The observer that writes the dashboard's notes and pictures as jobs end."""

from __future__ import annotations

from collections.abc import Sequence

from fer_tune.dashboard.notes import Annotator
from fer_tune.job import Job
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import Ended, Plan
from fer_tune.pool import WorkerInfo
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import Counts


class DashboardNotes(Observer):
    """Writes a note and pictures for each trial that ends."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._notes: Annotator | None = None

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        self._notes = Annotator(self._store, self._settings, plan.study)
        self._notes.catch_up()

    def job_ended(self, job: Job, ended: Ended) -> None:
        if self._notes is not None and ended.number is not None:
            self._notes.write(ended.number)
