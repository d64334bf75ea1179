"""The states of trials: Optuna's, and more states for trials that were interrupted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from optuna.trial import FrozenTrial, TrialState

from fer_tune.job import Value

State = Literal["complete", "pruned", "failed", "requeued", "paused", "running", "interrupted", "waiting"]
STATES: tuple[State, ...] = get_args(State)
"""All states. An `interrupted` trial was running when its run ended; the next run of the study
queues it again. A `requeued` trial was queued again as another trial, and is not counted. A
`paused` trial reached a rung, and continues if it is promoted; Optuna calls it running."""

COMPLETE: tuple[State, ...] = ("complete",)
"""The states that a ranking includes by default."""

START = "start"
"""User attribute: the name of the `start:` configuration."""
PARAMS = "params"
"""User attribute of trials of older versions: all hyperparameters by name, including fixed ones."""
REASON = "reason"
"""User attribute: why a trial was pruned or failed."""
REQUEUED_AS = "requeued_as"
"""User attribute of an interrupted trial: the number of the trial that continues it."""
RETRY_OF = "retry_of"
"""User attribute of a trial that continues another one: the number of that one."""
ATTEMPT = "attempt"
"""User attribute of a trial that continues another one: how many trials it continues."""
PAUSED = "paused"
"""User attribute of a trial that reached a rung: whether it is paused now."""
PAUSED_AT = "rung"
"""User attribute of a trial that reached a rung: the epoch of the rung."""
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
    """

    number: int
    params: dict[str, Value]
    name: str | None
    attempt: int
    seed: int


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
    match trial.state:
        case TrialState.COMPLETE:
            return "complete"
        case TrialState.PRUNED:
            return "pruned"
        case TrialState.RUNNING:
            if trial.user_attrs.get(PAUSED):
                return "paused"
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
    """Returns the position of a trial among the draws of its study.

    It is the number that the trial would have if no trial had been requeued.

    Args:
        trials: all trials of the study, by number.
    """
    copies = 0
    for trial in trials:
        if trial.number == number and PLACE in trial.user_attrs:
            return int(trial.user_attrs[PLACE])
        copies += trial.number < number and PLACE in trial.user_attrs
    return number - copies
