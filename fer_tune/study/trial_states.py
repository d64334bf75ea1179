"""Trials as a study counts them: Optuna's states, but for trials that were tried again under
another number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from optuna.trial import FrozenTrial, TrialState

from fer_tune.job import Value

State = Literal["complete", "pruned", "failed", "requeued", "running", "interrupted", "waiting"]
STATES: tuple[State, ...] = get_args(State)
"""An `interrupted` trial was running when its run ended; the next run of the study queues it again.
A `requeued` one was queued again as another trial, and counts as nothing."""

COMPLETE: tuple[State, ...] = ("complete",)
"""What a ranking ranks unless told otherwise."""

START = "start"
"""User attribute: the name of the `start:` configuration."""
PARAMS = "params"
"""User attribute of trials that an earlier version ran: all hyperparameters by name, also the fixed
ones."""
REASON = "reason"
"""User attribute: why a trial was pruned or failed."""
REQUEUED_AS = "requeued_as"
"""User attribute of an interrupted trial: the number it lives on as."""
RETRY_OF = "retry_of"
"""User attribute of the trial it lives on as: its number."""
ATTEMPT = "attempt"
"""User attribute of the trial it lives on as: how many were interrupted before."""
PLACE = "place"
"""User attribute of the trial it lives on as: the place of the first of them among the draws."""


@dataclass(frozen=True)
class Proposal:
    """A trial to train.

    Attributes:
        number: Optuna's.
        params: every hyperparameter of the sweep that is active, by name, the fixed ones too.
        name: of the `start:` configuration it came from, or None.
        attempt: how often this configuration was interrupted before; 0 for the first try.
        seed: for the training. It follows from the study's seed and the place among the draws, not
            from the number, so that a requeued trial trains as the interrupted one would have.
    """

    number: int
    params: dict[str, Value]
    name: str | None
    attempt: int
    seed: int


@dataclass(frozen=True)
class Finished:
    """A trial whose end Optuna was told of."""

    number: int
    state: State
    reason: str
    value: float | None


@dataclass(frozen=True)
class Counts:
    """How many trials of a study are in which state; requeued ones are not counted."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    interrupted: int = 0

    @property
    def finished(self) -> int:
        """What the budget counts: complete, pruned and failed."""
        return self.complete + self.pruned + self.failed


def state_of(trial: FrozenTrial, is_run: bool = True) -> State:
    """Returns the trial's state in our words. `is_run` says whether a process runs the study
    now."""
    match trial.state:
        case TrialState.COMPLETE:
            return "complete"
        case TrialState.PRUNED:
            return "pruned"
        case TrialState.RUNNING:
            return "running" if is_run else "interrupted"
        case TrialState.WAITING:
            return "waiting"
    return "requeued" if REQUEUED_AS in trial.user_attrs else "failed"


def count(trials: Iterable[FrozenTrial], is_run: bool = True) -> Counts:
    """Returns how many trials are in which state; see `state_of`."""
    by_state = Counter[str](state_of(trial, is_run) for trial in trials)
    del by_state["requeued"]
    return Counts(**by_state)


def place_of(trials: Iterable[FrozenTrial], number: int) -> int:
    """The place of trial `number` among the draws of its study: its number, had no trial ever been
    requeued."""
    copies = 0
    for trial in trials:
        if trial.number == number and PLACE in trial.user_attrs:
            return int(trial.user_attrs[PLACE])
        copies += trial.number < number and PLACE in trial.user_attrs
    return number - copies
