"""The plan of a run, and the results of a run, its studies and its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fer_tune.job import Kind

if TYPE_CHECKING:
    from fer_tune.study import Counts

EndState = Literal["complete", "paused", "pruned", "failed", "requeued"]
"""The state in which a run leaves a job. A requeued job continues in a later run. A paused job
continues when its source promotes it."""

Reason = Literal["budget", "gpu_hours", "hours", "interrupted"]
"""Why a run left a study: nothing is left to do, the devices' hours of the study or the hours of
the run are over, or Ctrl-C."""

FINAL: tuple[Reason, ...] = ("budget", "gpu_hours")
"""The reasons after which the same command trains nothing more."""


@dataclass(frozen=True)
class Plan:
    """What a run will do for one study.

    Attributes:
        data: the data set, as the sweep names it.
        objective: name of the `EpochRow` field that is maximised.
        jobs: number of jobs in all, including those of earlier runs.
        epochs: epochs of a job that nothing stops early.
        hours: wall time after which running jobs are stopped; None means no limit.
        budget: the `budget:` of the sweep, for programs that read the plan.
    """

    study: str
    kind: Kind
    family: str
    data: str
    objective: str
    jobs: int
    epochs: int
    hours: float | None = None
    budget: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a run left a job.

    Attributes:
        job: uid of the job.
        number: Optuna's trial number, for a job of a search; None for others.
        value: the recorded objective. A complete job has that of the epochs that its
            `objective_of` names, another job that of its last epoch. None if the job has no finite
            value.
        reason: why the job ended so, one line; empty if it trained its whole schedule.
        epochs: number of epochs that count; see `job.merged`.
        seconds: time that these epochs took.
        infeasible: 0, or the fraction by which the job's need of memory exceeds the device's.
        facts: what a search records beside the value: device, parameters, best epoch and so on.
    """

    job: str
    number: int | None
    state: EndState
    value: float | None
    reason: str
    epochs: int
    seconds: float
    infeasible: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyOutcome:
    """How a run left a study.

    Attributes:
        counts: all trials of the study by state, including those of earlier runs.
        best, value: number and objective of the best completed trial; None if none completed.
        reason: why the run left the study.
        spent: device-seconds of training in all runs, by what became of the trials; see
            `selection.spending`.
        plan: the study's plan beside what was needed, or None; see `sources.spending`.
    """

    study: str
    counts: Counts
    best: int | None
    value: float | None
    reason: Reason
    spent: Mapping[str, float] = field(default_factory=dict)
    plan: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class RunOutcome:
    """The result of a run.

    Attributes:
        studies: the studies that the run began, in order.
        interrupted: whether Ctrl-C or SIGTERM ended the run. Later sweeps were not begun then.
    """

    studies: tuple[StudyOutcome, ...] = ()
    interrupted: bool = False

    @property
    def completed(self) -> int:
        """Number of completed trials in all studies of the run."""
        return sum(outcome.counts.complete for outcome in self.studies)
