"""The port that a runner takes its jobs from. A search asks Optuna; a final fit walks a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fer_tune.job import EpochRow, Job
from fer_tune.jobs.outcome import Ended, Plan, Reason, StudyOutcome
from fer_tune.study import Counts


@dataclass(frozen=True)
class Verdict:
    """What a source says of a running job after an epoch: `reason` is set where the job is to
    stop."""

    reason: str = ""

    @property
    def stop(self) -> bool:
        """Whether the job is to stop."""
        return bool(self.reason)


CONTINUE = Verdict()


class Source(Protocol):
    """Proposes jobs and hears what became of them. It knows no workers."""

    @property
    def plan(self) -> Plan:
        """What is to be done in all."""
        ...

    def begin(self) -> Counts:
        """Takes over what earlier runs left; returns how many jobs are in which state. Called once,
        first."""
        ...

    def hold(self) -> None:
        """Makes sure that the jobs are still this process's to train. Called several times a
        second.

        Raises:
            TakenOverError: another process trains them now, or did.
        """
        ...

    def wanted(self) -> bool:
        """Returns whether there is another job to start."""
        ...

    def next(self) -> Job:
        """Returns the next job, new or to be continued, with the number of this attempt. It is
        recorded."""
        ...

    def judge(self, job: Job, row: EpochRow, value: float) -> Verdict:
        """Decides whether a job continues. The row is in the database already."""
        ...

    def ended(self, job: Job, ended: Ended) -> None:
        """Records what became of a job that this run is done with."""
        ...

    def completed(self) -> int:
        """Returns how many jobs ever completed."""
        ...

    def outcome(self, reason: Reason) -> StudyOutcome:
        """Returns where the study is."""
        ...
