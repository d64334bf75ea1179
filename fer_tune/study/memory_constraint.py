"""Trials that do not fit into memory, and how a sampler learns from them.

Such a trial is told as failed, with the constraint `memory`: by what fraction it needs more than
there is. Optuna's samplers pass over failed trials, constraints and all: left alone they would go
on proposing what cannot be trained. So they are shown the study as if these trials were complete,
as bad as the worst that is, and infeasible. TPE puts infeasible trials behind all others, the
Gaussian process learns where the constraint holds, and CMA-ES, which knows no constraints, learns
from the value. The database keeps what happened.
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
"""The constraint, and the user attribute by which optuna-dashboard shows it."""
_ATTRIBUTE = f"constraints:{MEMORY}"
"""Where Optuna keeps it."""
FEASIBLE = -1.0
"""The constraint of trials that were trained: the Gaussian process wants one of each trial or of
none."""


class LearningSampler(BaseSampler):
    """A sampler that sees infeasible trials; all else is the inner one's."""

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
        """As Optuna's; the constraint is ours to deal with, CMA-ES need not warn of it."""
        attrs = {key: value for key, value in trial.system_attrs.items() if key != _ATTRIBUTE}
        self.inner.after_trial(_seen(study), _altered(trial, system_attrs=attrs), state, values)

    def reseed_rng(self) -> None:
        """As Optuna's."""
        self.inner.reseed_rng()


class _Seen:
    """A study with infeasible trials among the complete ones; like the view that Optuna's Hyperband
    gives samplers."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        return self._get_trials(deepcopy, states)

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        """What all of Optuna's samplers ask."""
        trials = with_infeasible(self._study._get_trials(deepcopy, use_cache=use_cache))
        return [trial for trial in trials if states is None or trial.state in states]


def _seen(study: Study) -> Study:
    return cast(Study, _Seen(study))


def with_infeasible(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """The trials, where some are infeasible in such a form that samplers heed them; none is
    changed."""
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
