"""Every way that a job can go, in one table. The runner reads it, and a test walks it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

State = Literal["queued", "running", "complete", "pruned", "failed"]
"""Where a job is. The last three are final."""


class Event(StrEnum):
    """What happens to a job. The values are shown in docs/architecture.md."""

    SUBMITTED = "a worker takes it"
    COMPLETED = "it finished its schedule"
    NEVER_FINITE = "it finished, and its objective was never finite"
    STOPPED = "its source stopped it"
    DIVERGED = "its loss is not finite"
    RAISED = "it raised an error"
    TOO_LARGE = "it does not fit into memory"
    LOST = "its worker was lost"
    LOST_TOO_OFTEN = "its worker was lost once more"
    OVERDUE = "its time limit is over"
    OVERDUE_EMPTY = "its time limit is over, and it has no value"
    OUT_OF_TIME = "the hours of the run are over"
    OUT_OF_TIME_EMPTY = "the hours of the run are over, and it has no value"
    INTERRUPTED = "the run is interrupted"
    LEFT_BEHIND = "an earlier run ended without it"


@dataclass(frozen=True)
class Transition:
    """One row of the table.

    Attributes:
        checkpoint: whether the job's checkpoint stays.
        leaves: whether this run is done with the job. A queued job that leaves continues in a later
            run.
        then: what else happens, for people.
    """

    before: State
    event: Event
    after: State
    checkpoint: bool
    leaves: bool
    then: str


def _final(before: State, event: Event, after: State, then: str) -> Transition:
    return Transition(before, event, after, checkpoint=False, leaves=True, then=then)


def _later(before: State, event: Event) -> Transition:
    return Transition(before, event, "queued", checkpoint=True, leaves=True, then="a later run continues it")


TABLE: tuple[Transition, ...] = (
    Transition("queued", Event.SUBMITTED, "running", checkpoint=True, leaves=False, then="an attempt starts"),
    _final("running", Event.COMPLETED, "complete", "it keeps its best epoch's value and predictions"),
    _final("running", Event.NEVER_FINITE, "failed", "the reason is kept"),
    _final("running", Event.STOPPED, "pruned", "it keeps the value reported last"),
    _final("running", Event.DIVERGED, "pruned", "it keeps the last finite value"),
    _final("running", Event.RAISED, "failed", "the reason and the traceback are kept"),
    _final("running", Event.TOO_LARGE, "failed", "it is marked as infeasible"),
    Transition(
        "running",
        Event.LOST,
        "queued",
        checkpoint=True,
        leaves=False,
        then="another worker continues it from its checkpoint",
    ),
    _final("running", Event.LOST_TOO_OFTEN, "failed", "the reason and the end of the log are kept"),
    _final("running", Event.OVERDUE, "pruned", "it keeps the value reported last"),
    _final("running", Event.OVERDUE_EMPTY, "failed", "the reason is kept"),
    _final("running", Event.OUT_OF_TIME, "pruned", "it keeps the value reported last"),
    _later("running", Event.OUT_OF_TIME_EMPTY),
    _later("running", Event.INTERRUPTED),
    _later("running", Event.LEFT_BEHIND),
    # A job that lost its worker waits as queued for another one.
    _final("queued", Event.OVERDUE, "pruned", "it keeps the value reported last"),
    _final("queued", Event.OVERDUE_EMPTY, "failed", "the reason is kept"),
    _final("queued", Event.OUT_OF_TIME, "pruned", "it keeps the value reported last"),
    _later("queued", Event.OUT_OF_TIME_EMPTY),
    _later("queued", Event.INTERRUPTED),
)

_BY_KEY = {(row.before, row.event): row for row in TABLE}


def transition(before: State, event: Event) -> Transition:
    """Returns what becomes of a job in this state when this happens.

    Raises:
        KeyError: the table has no such row, which is a bug.
    """
    return _BY_KEY[before, event]
