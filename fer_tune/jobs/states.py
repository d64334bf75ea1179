"""The states of a job and every transition between them, in one table that the runner reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

State = Literal["queued", "running", "paused", "complete", "pruned", "failed"]
"""The state of a job. The last three are final."""


class Event(StrEnum):
    """What happens to a job. The values are shown in docs/architecture.md."""

    SUBMITTED = "a worker takes it"
    COMPLETED = "it finished its schedule"
    PAUSED = "it reached the next rung"
    PROMOTED = "it is among the best of its rung"
    NOT_PROMOTED = "its study ends"
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
    CUT_OFF = "the hours of the run are over, and its source pauses jobs"
    INTERRUPTED = "the run is interrupted"
    LEFT_BEHIND = "an earlier run ended without it"


@dataclass(frozen=True)
class Transition:
    """One row of the table.

    Attributes:
        before, after: the job's states before and after the event.
        checkpoint: whether the job's checkpoint is kept.
        leaves: whether this run has finished with the job. A queued job that leaves continues in a
            later run.
        then: what else happens, in words, for the documentation.
    """

    before: State
    event: Event
    after: State
    checkpoint: bool
    leaves: bool
    then: str


def _final(before: State, event: Event, after: State, then: str) -> Transition:
    return Transition(before, event, after, checkpoint=False, leaves=True, then=then)


def _later(before: State, event: Event, after: State = "queued") -> Transition:
    return Transition(before, event, after, checkpoint=True, leaves=True, then="a later run continues it")


TABLE: tuple[Transition, ...] = (
    Transition("queued", Event.SUBMITTED, "running", checkpoint=True, leaves=False, then="an attempt starts"),
    _final("running", Event.COMPLETED, "complete", "it keeps its best epoch's value and predictions"),
    _final("running", Event.NEVER_FINITE, "failed", "the reason is kept"),
    Transition(
        "running",
        Event.PAUSED,
        "paused",
        checkpoint=True,
        leaves=True,
        then="it waits with its checkpoint until its source promotes it",
    ),
    Transition(
        "paused",
        Event.PROMOTED,
        "queued",
        checkpoint=True,
        leaves=False,
        then="a worker continues it from its checkpoint",
    ),
    _final("paused", Event.NOT_PROMOTED, "pruned", "it keeps the value reported last"),
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
    _later("running", Event.CUT_OFF, "paused"),
    _later("running", Event.INTERRUPTED),
    _later("running", Event.LEFT_BEHIND),
    # A job that lost its worker is queued while it waits for another one.
    _final("queued", Event.OVERDUE, "pruned", "it keeps the value reported last"),
    _final("queued", Event.OVERDUE_EMPTY, "failed", "the reason is kept"),
    _final("queued", Event.OUT_OF_TIME, "pruned", "it keeps the value reported last"),
    _later("queued", Event.OUT_OF_TIME_EMPTY),
    _later("queued", Event.CUT_OFF, "paused"),
    _later("queued", Event.INTERRUPTED),
)

_BY_KEY = {(row.before, row.event): row for row in TABLE}


def transition(before: State, event: Event) -> Transition:
    """Returns the row of the table for a job in this state and this event.

    Raises:
        KeyError: the table has no such row. That is a bug.
    """
    return _BY_KEY[before, event]
