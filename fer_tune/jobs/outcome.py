"""What a run and its trials came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fer_tune.study import Counts

State = Literal["complete", "pruned", "failed", "requeued"]
Reason = Literal["budget", "hours", "interrupted"]


@dataclass(frozen=True)
class Ended:
    """A trial's end, for a watch.

    Attributes:
        value: the objective that was told: the best epoch's, or the last one's if it did not complete; None if none.
        epochs: epochs recorded in its last attempt.
        seconds: what these took.
    """

    number: int
    state: State
    value: float | None
    reason: str
    epochs: int
    seconds: float


@dataclass(frozen=True)
class StudyOutcome:
    """Where a study stands when the run leaves it.

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
    """What a run came to; `interrupted` by Ctrl-C or SIGTERM, after which later sweeps were not begun."""

    studies: tuple[StudyOutcome, ...] = ()
    interrupted: bool = False

    @property
    def completed(self) -> int:
        """Completed trials in all its studies."""
        return sum(outcome.counts.complete for outcome in self.studies)
