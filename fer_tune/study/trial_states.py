"""The states of trials: Optuna's, and more states for trials that were interrupted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from fer_tune.job import Value

if TYPE_CHECKING:  # readers do not need Optuna
    from optuna.trial import FrozenTrial

State = Literal["complete", "pruned", "failed", "requeued", "paused", "running", "interrupted", "waiting"]
STATES: tuple[State, ...] = get_args(State)
"""All states. An `interrupted` trial was running when its run ended; the next run of the study
queues it again. A `requeued` trial was queued again as another trial, and is not counted. A
`paused` trial waits at a rung until it is promoted, or was cut off by the end of its run's hours;
Optuna calls it running."""

COMPLETE: tuple[State, ...] = ("complete",)
"""The states that a ranking includes by default."""

START = "start"
"""User attribute: the name of the `start:` configuration."""
PARAMS = "params"
"""User attribute of trials of older versions: all hyperparameters by name, including fixed ones."""
DRAWN = "drawn"
"""User attribute: what a configuration was drawn from; see `arms`."""
REASON = "reason"
"""User attribute: why a trial was pruned or failed."""
REQUEUED_AS = "requeued_as"
"""User attribute of an interrupted trial: the number of the trial that continues it."""
RETRY_OF = "retry_of"
"""User attribute of a trial that continues another one: the number of that one."""
ATTEMPT = "attempt"
"""User attribute of a trial that continues another one: how many trials it continues."""
BUDGET = "budget"
"""User attribute of a study: the budget of its last run. The record has that of its first run."""
PAUSED = "paused"
"""User attribute of a trial that paused: whether it is paused now."""
PAUSED_AT = "rung"
"""User attribute of a trial that paused at a rung: the epoch of the latest one."""
TURNS = "turns"
"""User attribute of a trial with a deterministic schedule: its turns; see `look_back.OneTurn`."""
PLACE = "place"
"""User attribute of a trial that continues another one: the position of the first of these trials
among the draws."""


@dataclass(frozen=True)
class Proposal:
    """A trial to train.

    Attributes:
        number: Optuna's trial number.
        params: all active hyperparameters of the sweep by name, including fixed ones.
        name: label of the `start:` configuration that it came from, or None.
        attempt: how often this configuration was interrupted before.
        seed: seed of the training. It depends on the study's seed and the trial's position among
            the draws. A requeued trial has the position, and so the seed, of the interrupted one.
        queued: whether it comes from the queue, and was not drawn.
    """

    number: int
    params: dict[str, Value]
    name: str | None
    attempt: int
    seed: int
    queued: bool = False


@dataclass(frozen=True)
class Finished:
    """A trial that has ended in Optuna."""

    number: int
    state: State
    reason: str
    value: float | None


@dataclass(frozen=True)
class Counts:
    """How many trials of a study are in which state. Requeued trials are not counted."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    interrupted: int = 0
    paused: int = 0

    @property
    def finished(self) -> int:
        """Number of trials that count towards the budget: complete, pruned and failed ones."""
        return self.complete + self.pruned + self.failed


def state_of(trial: FrozenTrial, is_run: bool = True) -> State:
    """Returns the state of a trial.

    Args:
        is_run: whether a process runs the study now.
    """
    return state_named(trial.state.name, trial.user_attrs, is_run)


MARKS = (REQUEUED_AS, PAUSED)
"""The user attributes that say more about the state of a trial than Optuna's state."""


def state_named(name: str, marks: Mapping[str, Any], is_run: bool = True) -> State:
    """Returns the state of a trial.

    Args:
        name: Optuna's name of the state.
        marks: the trial's user attributes, at least those of `MARKS`.
        is_run: whether a process runs the study now.
    """
    match name:
        case "COMPLETE":
            return "complete"
        case "PRUNED":
            return "pruned"
        case "RUNNING":
            if marks.get(PAUSED):
                return "paused"
            return "running" if is_run else "interrupted"
        case "WAITING":
            return "waiting"
    return "requeued" if REQUEUED_AS in marks else "failed"


def count(trials: Iterable[FrozenTrial], is_run: bool = True) -> Counts:
    """Returns how many trials are in which state; see `state_of`."""
    return counted(state_of(trial, is_run) for trial in trials)


def counted(states: Iterable[State]) -> Counts:
    """Returns how many of the states are which. Requeued trials are not counted."""
    by_state = Counter[str](states)
    del by_state["requeued"]
    return Counts(**by_state)
