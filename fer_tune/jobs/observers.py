"""Who is told what happens in a run: the null watch, which a display overrides."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fer_tune.job import EpochRow, Job
from fer_tune.jobs.outcome import Ended, StudyOutcome
from fer_tune.pool import WorkerInfo

if TYPE_CHECKING:
    from fer_tune.study import Counts
    from fer_tune.sweep.schema import Sweep


class Observer:
    """Is told what happens; this one does nothing. A display overrides what it shows, and returns quickly.

    Also a context manager, so that a display can open and close.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        """Something that the user should know, one line."""

    def study_opened(self, sweep: Sweep, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        """A study's turn begins; `counts` are those of earlier runs."""

    def worker_ready(self, worker: WorkerInfo) -> None:
        """A worker, first or fresh, can take a trial."""

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        """A worker died; a fresh one is being started in its place."""

    def trial_started(self, spec: Job, worker: WorkerInfo, name: str | None) -> None:
        """A worker was given a trial or, with `spec.attempt` > 0, another try of it; `name` is its label in `start`."""

    def epoch(self, spec: Job, row: EpochRow, value: float) -> None:
        """A trial finished an epoch; `value` is its objective."""

    def trial_ended(self, spec: Job, ended: Ended) -> None:
        """A trial is over, and the study told."""

    def study_closed(self, outcome: StudyOutcome) -> None:
        """A study's turn is over."""
