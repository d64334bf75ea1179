"""The interface of a source, from which a runner takes its jobs.

`sources.search` asks Optuna for the next job; `sources.final` has a fixed list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from fer_tune.job import EpochRow, Job
from fer_tune.jobs.outcome import Ended, Plan, Reason, StudyOutcome
from fer_tune.study import Counts


@dataclass(frozen=True)
class Verdict:
    """A source's decision about a running job after an epoch.

    Attributes:
        reason: why the job must stop; empty if it continues.
    """

    reason: str = ""

    @property
    def stop(self) -> bool:
        """Whether the job must stop."""
        return bool(self.reason)


CONTINUE = Verdict()


class Source(Protocol):
    """Proposes jobs, judges their epochs and records their ends. It knows nothing of workers.

    While jobs train, a batch of the store is open. What the methods write waits for the runner's
    next commit, unless they commit it themselves.
    """

    @property
    def plan(self) -> Plan:
        """What the run will do in all."""
        ...

    @property
    def pauses(self) -> bool:
        """Whether a job that the end of the run's hours cuts off is paused, for a later run."""
        ...

    def begin(self, left: Callable[[], float]) -> Counts:
        """Cleans up after earlier runs, and returns how many jobs are in which state.

        The runner calls it once, before any other method.

        Args:
            left: returns the seconds until the hours of the run are over; infinite without a limit.
        """
        ...

    def hold(self) -> None:
        """Checks that this process still holds the lock on the jobs. Called several times a second.

        Raises:
            TakenOverError: another process trains the jobs now, or did so meanwhile.
        """
        ...

    def taken(self) -> Mapping[str, str]:
        """Returns the jobs of this run that another program ended or deleted, with a reason by uid.

        The runner calls it after `hold`, and then stops these jobs.

        Raises:
            StudyError: another program deleted the study.
        """
        ...

    def wanted(self) -> bool:
        """Returns whether there is another job to start."""
        ...

    def most_at_once(self, workers: int) -> float:
        """Returns how many jobs should be trained at the same time, at most.

        It is at least one for each worker, and infinite if each slot should have one.
        """
        ...

    def next(self) -> Job:
        """Records and returns the next job, with the number of this attempt.

        The job is new, or it was interrupted or paused and continues.
        """
        ...

    def prepare(self, slots: int) -> bool:
        """Makes a job ready that `next` may return, so that a free worker need not wait for it.

        The runner calls it while workers train. It records nothing.

        Args:
            slots: how many jobs can be trained at the same time.

        Returns:
            Whether it should soon be called again.
        """
        ...

    def record_epoch(self, job: Job, row: EpochRow, value: float) -> None:
        """Records what `judge` needs to know of an epoch. The runner then commits it, and calls
        `judge`."""
        ...

    def judge(self, job: Job, row: EpochRow, value: float, replayed: bool) -> Verdict:
        """Decides whether a job continues after an epoch. The row is in the database already.

        Args:
            value: the epoch's objective, which may be nan or infinite.
            replayed: whether an earlier attempt trained the epoch; see `Observer.epoch`.
        """
        ...

    def ended(self, job: Job, ended: Ended) -> None:
        """Records how a job ended that this run has finished with."""
        ...

    def completed(self) -> int:
        """Returns how many jobs completed, including those of earlier runs."""
        ...

    def outcome(self, reason: Reason) -> StudyOutcome:
        """Ends what only a continuing study needs, and returns the state of the study.

        The runner calls it once, after the last job.

        Args:
            reason: why the run leaves the study.
        """
        ...
