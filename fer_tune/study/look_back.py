"""The trials as they were when all turns before a given one were over: `schedule: deterministic`.

A turn is one stretch of training: from the start of a trial, or from a rung, to its next pause or
its end. `sources.rounds` numbers the turns. A decision that knows only turns before a given one
does not depend on how far the others have come.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from optuna.trial import FrozenTrial, TrialState

from fer_tune.study.trial_memory import TrialMemory
from fer_tune.study.trial_states import DRAWN, PAUSED, PLACE, REQUEUED_AS, RETRY_OF, START, TURNS

KEPT = (START, DRAWN, PLACE, RETRY_OF, TURNS)
"""User attributes that a trial has from its start."""

Turns = Sequence[tuple[int, int | None]]
"""The turns of a trial: the number of each, and the epoch of the rung at which it ends; None if it
ends with the trial."""


def look_back(memory: TrialMemory, before: int) -> TrialMemory:
    """Returns the trials as they were when the turns before `before` were over.

    Args:
        before: all turns with a lower number are over.
    """
    return TrialMemory(as_of(trial, before, memory.trials) for trial in memory.trials)


def as_of(trial: FrozenTrial, before: int, trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """Returns a trial as it was when the turns before `before` were over.

    A trial without turns is from a time with another schedule, and returned as it is. So is one
    that waits in the queue, or that another trial continues.

    Args:
        trials: all trials by number. If a trial continues an interrupted one, that one has the
            values of its earlier turns.
    """
    turns: Turns = trial.user_attrs.get(TURNS, ())
    over = [until for turn, until in turns if turn < before]
    if len(over) == len(turns) or trial.state == TrialState.WAITING or REQUEUED_AS in trial.user_attrs:
        return trial
    reached = (over[-1] or 0) if over else 0
    earlier = copy(trial)
    earlier.state, earlier.values, earlier.datetime_complete = TrialState.RUNNING, None, None
    attrs = {key: value for key, value in trial.user_attrs.items() if key in KEPT}
    earlier._user_attrs = attrs | ({PAUSED: True} if over and len(over) + 1 == len(turns) else {})
    earlier._system_attrs = {key: value for key, value in trial.system_attrs.items() if key == "fixed_params"}
    values = dict(trial.intermediate_values)
    while RETRY_OF in trial.user_attrs:
        trial = trials[trial.user_attrs[RETRY_OF]]
        values = trial.intermediate_values | values
    earlier.intermediate_values = {epoch: value for epoch, value in sorted(values.items()) if epoch <= reached}
    return earlier
