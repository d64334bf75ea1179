"""Observers hear everything that happens in a run, and decide nothing."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fer_tune.files import append_text
from fer_tune.job import EpochRow, Job, StepProgress
from fer_tune.jobs.outcome import Ended, Plan, StudyOutcome
from fer_tune.pool import WorkerInfo

if TYPE_CHECKING:
    from fer_tune.study import Counts


class Observer:
    """Hears what happens. This one does nothing; a subclass overrides what interests it, and
    returns quickly.

    It is also a context manager, so that a display can open and close.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        """The user should know this, one line."""

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        """A study's turn on the workers begins; `counts` are those of earlier runs."""

    def tick(self) -> None:
        """Called several times a second, between events."""

    def worker_ready(self, worker: WorkerInfo) -> None:
        """A worker, first or fresh, can take a job."""

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        """A worker died; a fresh one is being started in its place."""

    def job_started(self, job: Job, worker: WorkerInfo) -> None:
        """A worker was given the job or, with `job.attempt` above 0, another attempt at it."""

    def job_progress(self, job: Job, progress: StepProgress) -> None:
        """A job is within an epoch; heard at most about once a second."""

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        """A job finished an epoch.

        Args:
            value: its objective.
            replayed: the epoch was trained by an earlier attempt; this one continued from its
                checkpoint.
        """

    def job_ended(self, job: Job, ended: Ended) -> None:
        """This run is done with a job, and its source was told."""

    def study_closed(self, outcome: StudyOutcome) -> None:
        """A study's turn is over."""


class Observers(Observer):
    """Passes each call to every observer.

    An observer that raises an error is dropped. The trace goes to a log, the user is told once
    through the others, and the run continues without it. KeyboardInterrupt is not an error of an
    observer and passes.

    Args:
        log: the file that traces are added to.
    """

    def __init__(self, observers: Iterable[Observer], log: Path) -> None:
        self._observers = list(observers)
        self._log = log

    def add(self, observer: Observer) -> None:
        """Adds an observer, which hears what happens from now on."""
        self._observers.append(observer)

    def remove(self, observer: Observer) -> None:
        """Takes an observer out, unless it was dropped already."""
        if observer in self._observers:
            self._observers.remove(observer)

    def __enter__(self) -> Self:
        self._each(lambda observer: observer.__enter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._each(lambda observer: observer.__exit__(kind, error, trace))

    def note(self, text: str) -> None:
        self._each(lambda observer: observer.note(text))

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        self._each(lambda observer: observer.study_opened(plan, counts, workers))

    def tick(self) -> None:
        self._each(lambda observer: observer.tick())

    def worker_ready(self, worker: WorkerInfo) -> None:
        self._each(lambda observer: observer.worker_ready(worker))

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self._each(lambda observer: observer.worker_lost(worker, reason, log_tail))

    def job_started(self, job: Job, worker: WorkerInfo) -> None:
        self._each(lambda observer: observer.job_started(job, worker))

    def job_progress(self, job: Job, progress: StepProgress) -> None:
        self._each(lambda observer: observer.job_progress(job, progress))

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        self._each(lambda observer: observer.epoch(job, row, value, replayed))

    def job_ended(self, job: Job, ended: Ended) -> None:
        self._each(lambda observer: observer.job_ended(job, ended))

    def study_closed(self, outcome: StudyOutcome) -> None:
        self._each(lambda observer: observer.study_closed(outcome))

    def _each(self, call: Callable[[Observer], Any]) -> None:
        for observer in list(self._observers):
            try:
                call(observer)
            except Exception as error:
                self._drop(observer, error)

    def _drop(self, observer: Observer, error: Exception) -> None:
        self._observers.remove(observer)
        name = type(observer).__name__
        trace = "".join(traceback.format_exception(error))
        kept = append_text(self._log, f"{name} failed and was dropped:\n{trace}\n")
        where = f" The trace is in {self._log}." if kept else ""
        self.note(f"{name} failed ({type(error).__name__}: {error}). The run continues without it.{where}")
