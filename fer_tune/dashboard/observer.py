"""Writes notes and pictures during a run, in a thread of its own."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Sequence
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING

from fer_tune.dashboard.storage import trials_without_note
from fer_tune.dashboard.writer import NoteWriter
from fer_tune.jobs.observers import Observer
from fer_tune.store import Store

if TYPE_CHECKING:
    from fer_tune.job import Job
    from fer_tune.jobs.outcome import Ended, Plan, StudyOutcome
    from fer_tune.pool import WorkerInfo
    from fer_tune.settings import Settings
    from fer_tune.study import Counts

PATIENCE = 5.0
"""Seconds that the end of a study waits for the last notes. The next run writes missing ones."""


class DashboardNotes(Observer):
    """Writes the notes and pictures of trials after they have ended, while the run continues.

    Each study gets a thread with its own connections to the database. An error in the thread is
    raised by the next call of a method, so that the run treats it like any error of an observer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ended: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._deadline = math.inf
        self._error: Exception | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the thread, at once if the run ended with an error."""
        self._close(PATIENCE if kind is None else 0.0)

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        """Starts to write the study's note, and those of trials that ended without one."""
        if plan.kind != "search":
            return
        self._ended, self._deadline = queue.SimpleQueue(), math.inf
        self._thread = threading.Thread(target=self._work, args=(plan.study,), name="dashboard notes", daemon=True)
        self._thread.start()

    def job_ended(self, job: Job, ended: Ended) -> None:
        """Queues a trial."""
        self._raise()
        if ended.number is not None and ended.state != "paused":
            self._ended.put(ended.number)

    def study_closed(self, outcome: StudyOutcome) -> None:
        """Waits for the last notes, at most PATIENCE seconds."""
        self._close(PATIENCE)
        self._raise()

    def _work(self, study: str) -> None:
        """Runs in the thread, until None is queued or the deadline is over."""
        try:
            with Store.of(self._settings, create=False) as store:
                writer = NoteWriter(store, self._settings, study)
                writer.remove_drafts()
                writer.write_study()
                ended = iter(self._ended.get, None)
                at_the_end = (number for _ in (0,) for number in trials_without_note(store, study))
                for number in chain(trials_without_note(store, study), ended, at_the_end):
                    if time.monotonic() > self._deadline:
                        return
                    writer.write(number)
        except Exception as error:
            self._error = error

    def _close(self, seconds: float) -> None:
        if self._thread is not None:
            self._deadline = time.monotonic() + seconds
            self._ended.put(None)
            self._thread.join(seconds)
            self._thread = None

    def _raise(self) -> None:
        if (error := self._error) is not None:
            self._error = None
            raise error
