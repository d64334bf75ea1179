"""Lets samplers learn from trials that do not fit into memory.

Such a trial is recorded as failed, with the constraint `memory`: the fraction by which it needs
more memory than the device has. Optuna's samplers ignore failed trials and their constraints, so
they would propose such trials again and again.

`LearningSampler` therefore shows them another view of the study. In it, these trials are complete,
infeasible, and as bad as the worst complete trial. TPE ranks infeasible trials behind all others.
The Gaussian process learns where the constraint holds. CMA-ES ignores constraints and learns from
the value. The database is not changed.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from copy import copy
from typing import Any, cast

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

MEMORY = "memory"
"""Name of the constraint, and of the user attribute by which optuna-dashboard shows it."""
_ATTRIBUTE = f"constraints:{MEMORY}"
"""System attribute in which Optuna keeps the constraint."""
FEASIBLE = -1.0
"""Value of the constraint for trials that were trained. The Gaussian process needs a value either
for every trial or for none."""


class LearningSampler(BaseSampler):
    """A sampler that shows infeasible trials to the sampler within it. See this module."""

    def __init__(self, inner: BaseSampler) -> None:
        self.inner = inner

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As Optuna's."""
        return self.inner.infer_relative_search_space(_seen(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As Optuna's."""
        return self.inner.sample_relative(_seen(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As Optuna's."""
        return self.inner.sample_independent(_seen(study), trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As Optuna's."""
        self.inner.before_trial(_seen(study), trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As Optuna's, but without the constraint, about which CMA-ES would print a warning."""
        attrs = {key: value for key, value in trial.system_attrs.items() if key != _ATTRIBUTE}
        self.inner.after_trial(_seen(study), _altered(trial, system_attrs=attrs), state, values)

    def reseed_rng(self) -> None:
        """As Optuna's."""
        self.inner.reseed_rng()


class _Seen:
    """A view of a study in which infeasible trials are complete.

    Optuna's Hyperband shows samplers a similar view.
    """

    def __init__(self, study: Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return self._get_trials(deepcopy, states)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """Returns the trials. All of Optuna's samplers call this method."""
        trials = with_infeasible(self._study._get_trials(deepcopy, use_cache=use_cache))
        return [trial for trial in trials if states is None or trial.state in states]


def _seen(study: Study) -> Study:
    return cast(Study, _Seen(study))


def with_infeasible(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Returns trials in which samplers can see the infeasible ones.

    The given trials are not changed. If none is infeasible, they are returned as they are.
    """
    if not any(_infeasible(trial) for trial in trials):
        return trials
    complete = [trial.value for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    worst = min(complete, default=0.0)  # all objectives are fractions, and maximised

    def shown(trial: FrozenTrial) -> FrozenTrial:
        if _infeasible(trial):
            return _altered(trial, state=TrialState.COMPLETE, value=worst)
        if trial.state == TrialState.COMPLETE:
            return _altered(trial, system_attrs={**trial.system_attrs, _ATTRIBUTE: FEASIBLE})
        return trial

    return [shown(trial) for trial in trials]


def _infeasible(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and trial.system_attrs.get(_ATTRIBUTE, FEASIBLE) > 0


def _altered(trial: FrozenTrial, **changes: Any) -> FrozenTrial:
    altered = copy(trial)
    for name, value in changes.items():
        setattr(altered, name, value)
    return altered
