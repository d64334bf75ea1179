"""Observers: the runner calls them for everything that happens in a run. They decide nothing."""

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
    """Base class of observers. Each method does nothing; a subclass overrides those that it needs.

    A method must return quickly, because the runner waits for it. An observer is also a context
    manager, so that a display can open and close.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        """Called with one line that the user should read."""

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        """Called when a study begins to use the workers.

        Args:
            plan: what this run will do.
            counts: the study's trials by state, from earlier runs.
            workers: all workers of the run.
        """

    def tick(self) -> None:
        """Called several times a second, between events."""

    def mirror_opened(self, tracker: str, place: str) -> None:
        """Called when a mirror begins to copy the study.

        Args:
            tracker: to which tracker.
            place: where the copy will be, in words.
        """

    def worker_ready(self, worker: WorkerInfo) -> None:
        """Called when a worker can take a job, at its start or after it replaced a lost one."""

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        """Called when a worker died. The pool starts another process in its place.

        Args:
            reason: how it died, one line.
            log_tail: the last lines of its log.
        """

    def lanes_changed(self, worker: WorkerInfo) -> None:
        """Called when a worker has another number of lanes than before."""

    def job_started(self, job: Job, worker: WorkerInfo, lane: int = 0) -> None:
        """Called when a lane of a worker starts a job. It is a further attempt if `job.attempt` is
        above 0."""

    def job_progress(self, job: Job, progress: StepProgress) -> None:
        """Called about once a second, at most, while a job is within an epoch."""

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        """Called when a job finished an epoch.

        Args:
            value: the epoch's objective.
            replayed: whether an earlier attempt trained the epoch. The present attempt continued
                from the checkpoint and sent the row again.
        """

    def job_ended(self, job: Job, ended: Ended) -> None:
        """Called when this run has finished with a job. The job's source has recorded the end."""

    def study_closed(self, outcome: StudyOutcome) -> None:
        """Called when the run leaves a study."""


class Observers(Observer):
    """Passes each call to every observer.

    An observer that raises an error is removed, and the run continues without it. The traceback is
    added to a log file. The other observers get a note about it, once. KeyboardInterrupt is not
    caught.

    Args:
        log: the file that tracebacks are added to.
    """

    def __init__(self, observers: Iterable[Observer], log: Path) -> None:
        self._observers = list(observers)
        self._log = log

    def add(self, observer: Observer) -> None:
        """Adds an observer. It is called for what happens from now on."""
        self._observers.append(observer)

    def remove(self, observer: Observer) -> None:
        """Removes an observer. Does nothing if it was removed already."""
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

    def mirror_opened(self, tracker: str, place: str) -> None:
        self._each(lambda observer: observer.mirror_opened(tracker, place))

    def tick(self) -> None:
        self._each(lambda observer: observer.tick())

    def worker_ready(self, worker: WorkerInfo) -> None:
        self._each(lambda observer: observer.worker_ready(worker))

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self._each(lambda observer: observer.worker_lost(worker, reason, log_tail))

    def lanes_changed(self, worker: WorkerInfo) -> None:
        self._each(lambda observer: observer.lanes_changed(worker))

    def job_started(self, job: Job, worker: WorkerInfo, lane: int = 0) -> None:
        self._each(lambda observer: observer.job_started(job, worker, lane))

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
        kept = append_text(self._log, f"{name} failed and was removed:\n{trace}\n")
        where = f" The traceback is in {self._log}." if kept else ""
        self.note(f"{name} failed ({type(error).__name__}: {error}). The run continues without it.{where}")
