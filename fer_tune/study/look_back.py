"""The trials as they were at the end of a round: `schedule: deterministic`.

`sources.rounds` says what rounds and turns are. A decision that knows only the turns that were over
by a given round does not depend on how far the others have come.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy

from optuna.trial import FrozenTrial, TrialState

from fer_tune.study.trial_memory import TrialMemory
from fer_tune.study.trial_states import DRAWN, PAUSED, PLACE, REQUEUED_AS, RETRY_OF, START, TURNS

KEPT = (START, DRAWN, PLACE, RETRY_OF, TURNS)
"""User attributes that a trial has from its start."""

OneTurn = tuple[int, int, int | None, int | None]
"""A turn of a trial: its number; the round in which it starts; the epoch of the rung at which it
ends (None if it ends with the trial); and the round in which it is over. That is None if the turn
may be over earlier."""

Turns = Sequence[OneTurn]

VIEWS = 16
"""How many views are kept. A search looks back from several rounds in turn."""


class LookBacks:
    """The trials as they are, with views of them as they were at the ends of some rounds.

    Attributes:
        memory: the trials as they are.
    """

    def __init__(self, memory: TrialMemory) -> None:
        self.memory = memory
        self._views: dict[int, TrialMemory] = {}
        self._known: int | None = None

    @contextmanager
    def looking_back(self, known: int | None) -> Iterator[None]:
        """Lets `seen` be the trials as they were at the end of round `known`.

        Args:
            known: None means as they are.
        """
        self._known = known
        try:
            yield
        finally:
            self._known = None

    @property
    def seen(self) -> TrialMemory:
        """The trials as Optuna's samplers and pruners see them now."""
        if self._known is None:
            return self.memory
        if self._known not in self._views:
            self._views[self._known] = look_back(self.memory, self._known)
            while len(self._views) > VIEWS:
                del self._views[next(iter(self._views))]
        return self._views[self._known]

    def put(self, trial: FrozenTrial) -> None:
        """Adds the next trial, or replaces one, in all views."""
        self.memory.put(trial)
        for known, view in self._views.items():
            view.put(as_of(trial, known, self.memory.trials))

    def replace(self, memory: TrialMemory) -> None:
        """Replaces all trials."""
        self.memory = memory
        self._views.clear()

    def take_back(self, trials: Iterable[FrozenTrial | None]) -> None:
        """Undoes changes. They must be the latest ones, the last of them first.

        Args:
            trials: each is a trial as it was before; None if it was added.
        """
        for before in trials:
            self._views.clear()
            if before is None:
                self.memory.pop()
            else:
                self.memory.put(before)


def lasted(epochs: int) -> int:
    """Returns how many rounds a turn took that trained so many epochs."""
    return max(1, epochs)


def look_back(memory: TrialMemory, known: int) -> TrialMemory:
    """Returns the trials as they were at the end of round `known`.

    All turns that are over by then must be over.
    """
    return TrialMemory(as_of(trial, known, memory.trials) for trial in memory.trials)


def as_of(trial: FrozenTrial, known: int, trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """Returns a trial as it was at the end of round `known`.

    A trial without turns is from a time with another schedule, and returned as it is. So is one
    that waits in the queue, or that another trial continues.

    Args:
        trials: all trials by number. If a trial continues an interrupted one, that one has the
            values of its earlier turns.
    """
    turns: Turns = trial.user_attrs.get(TURNS, ())
    if not turns or trial.state == TrialState.WAITING or REQUEUED_AS in trial.user_attrs:
        return trial
    over = [until for place, (_, _, until, _) in enumerate(turns) if _end(trial, turns, place) <= known]
    if len(over) == len(turns):
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


def _end(trial: FrozenTrial, turns: Turns, place: int) -> float:
    """Returns the round in which a turn is over; infinite while that is not known."""
    _, start, until, end = turns[place]
    if end is not None:
        return end
    reached = (turns[place - 1][2] or 0) if place else 0
    if place < len(turns) - 1:
        return start + lasted((until or 0) - reached)
    if trial.state.is_finished() or trial.user_attrs.get(PAUSED):
        return start + lasted((trial.last_step or 0) - reached)
    return math.inf
