"""A view of a study in which samplers see trials that are paused.

For Optuna a paused trial is running, so its samplers would learn nothing from it. In this view, the
trials that reached a level are complete, with their values there. The level is the highest one that
enough trials reached. BOHB chooses it in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from typing import cast

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from fer_tune.study.study_view import StudyView
from fer_tune.study.trial_states import state_of

ENOUGH = 16
"""How many trials must have reached a level. Until then, samplers see the lowest level."""


def reached(trial: FrozenTrial, levels: Sequence[int]) -> dict[int, float]:
    """Returns the values of a trial at the levels that it reached.

    Args:
        levels: epochs, rising. The last one is the schedule. A complete trial has its own value
            there, however many epochs it trained.
    """
    values = trial.intermediate_values
    found = {level: values[level] for level in levels[:-1] if level in values}
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        found[levels[-1]] = trial.value
    return found


def at_the_highest_level(trials: Iterable[FrozenTrial], levels: Sequence[int]) -> list[FrozenTrial]:
    """Returns trials as samplers should see them. The given ones are not changed."""
    values = [(trial, reached(trial, levels)) for trial in trials]
    counts = {level: sum(level in found for _, found in values) for level in levels}
    chosen = max((level for level in levels if counts[level] >= ENOUGH), default=levels[0])
    seen = []
    for trial, found in values:
        if chosen in found:
            seen.append(_complete(trial, found[chosen]))
        elif state_of(trial) == "running" or trial.state in (TrialState.WAITING, TrialState.FAIL):
            seen.append(trial)
    return seen


def _complete(trial: FrozenTrial, value: float) -> FrozenTrial:
    seen = copy(trial)
    seen._user_attrs, seen._system_attrs = trial.user_attrs, trial.system_attrs
    seen.state, seen.value = TrialState.COMPLETE, value
    seen.intermediate_values = {}
    return seen


class RungView(StudyView):
    """The study as `at_the_highest_level` shows its trials."""

    def __init__(self, study: Study, levels: Sequence[int]) -> None:
        super().__init__(study)
        self._levels = levels

    def shown(self, deepcopy: bool, use_cache: bool) -> list[FrozenTrial]:
        return at_the_highest_level(self._study._get_trials(deepcopy, use_cache=use_cache), self._levels)


def seen(study: Study, levels: Sequence[int]) -> Study:
    """Returns the view of a study."""
    return cast(Study, RungView(study, levels))
