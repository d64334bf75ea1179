"""What a run is to do, and what it and its jobs came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fer_tune.job import Kind

if TYPE_CHECKING:
    from fer_tune.study import Counts

EndState = Literal["complete", "pruned", "failed", "requeued"]
"""How a run left a job. A requeued one continues in a later run."""

Reason = Literal["budget", "hours", "interrupted"]


@dataclass(frozen=True)
class Plan:
    """What a turn on the workers is to do.

    Attributes:
        data: the data set, as the sweep names it.
        objective: name of the `EpochRow` field that is maximised.
        jobs: how many, those of earlier turns included.
        epochs: of a job that is not stopped.
        hours: of wall time; None is no limit.
        budget: the same as the sweep says it, for a machine to read.
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
        number: of the trial, for a job of a search.
        value: the objective that was recorded: the best epoch's, or the last one's if it did not
            complete; None if it has none.
        epochs: those that count, see `job.merged`.
        seconds: what these took.
        infeasible: above 0 if it needs more memory than there is, by what fraction.
        facts: what a search keeps beside the value: device, parameters, best epoch and so on.
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
        counts: of all its trials, those of earlier runs included.
        best, value: number and objective of the best completed trial; None if none completed.
        reason: why the run left it.
    """

    study: str
    counts: Counts
    best: int | None
    value: float | None
    reason: Reason


@dataclass(frozen=True)
class RunOutcome:
    """What a run came to. If it was `interrupted` by Ctrl-C or SIGTERM, it did not begin the later
    sweeps."""

    studies: tuple[StudyOutcome, ...] = ()
    interrupted: bool = False

    @property
    def completed(self) -> int:
        """Completed trials in all its studies."""
        return sum(outcome.counts.complete for outcome in self.studies)
