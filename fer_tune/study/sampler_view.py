"""What samplers see of a study: trials that do not fit into memory, and not every old trial.

Such a trial is recorded as failed, with the constraint `memory`: the fraction by which it needs
more memory than the device has. Optuna's samplers ignore failed trials and their constraints, so
they would propose such trials again and again.

`LearningSampler` therefore shows them another view of the study. In it, these trials are complete,
infeasible, and as bad as the worst complete trial. TPE ranks infeasible trials behind all others.
The Gaussian process learns where the constraint holds. CMA-ES ignores constraints and learns from
the value. The database is not changed.

TPE sees only the `BEST` complete trials and the `LATEST` ended ones. It takes the best 25 for the
good ones in any study of more than 250 trials, and its time grows with the number of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, cast

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from fer_tune.study.single_writer import SingleWriter
from fer_tune.study.study_view import StudyView

MEMORY = "memory"
"""Name of the constraint, and of the user attribute by which optuna-dashboard shows it."""
_ATTRIBUTE = f"constraints:{MEMORY}"
"""System attribute in which Optuna keeps the constraint."""
FEASIBLE = -1.0
"""Value of the constraint for trials that were trained. The Gaussian process needs a value either
for every trial or for none."""


BEST, LATEST = 50, 250
"""How many trials TPE sees of a long study."""


class LearningSampler(BaseSampler):
    """A sampler that shows another view of the study to the sampler within it. See this module.

    Args:
        bounded: whether the view leaves out old trials.
        seed: returns the seed of a trial's draws for its number. By default a draw also depends on
            the draws before it.
    """

    def __init__(self, inner: BaseSampler, bounded: bool = False, seed: Callable[[int], int] | None = None) -> None:
        self.inner = inner
        self._bounded = bounded
        self._seed = seed
        self._view: _View | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As Optuna's."""
        return self.inner.infer_relative_search_space(self._seen(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As Optuna's."""
        return self.inner.sample_relative(self._seen(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As Optuna's."""
        return self.inner.sample_independent(self._seen(study), trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As Optuna's. The view stays the same until the next trial is drawn."""
        self._view = None
        if self._seed is not None:
            reseed(self.inner, self._seed(trial.number))
        self.inner.before_trial(self._seen(study), trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As Optuna's, but without the constraint, about which CMA-ES would print a warning."""
        attrs = {key: value for key, value in trial.system_attrs.items() if key != _ATTRIBUTE}
        self._view = None
        self.inner.after_trial(self._seen(study), _altered(trial, system_attrs=attrs), state, values)
        self._view = None

    def reseed_rng(self) -> None:
        """As Optuna's."""
        self.inner.reseed_rng()

    def _seen(self, study: Study) -> Study:
        if self._view is None:
            self._view = _View(study, self._bounded)
        return cast(Study, self._view)


def reseed(sampler: BaseSampler, seed: int) -> None:
    """Sets the random states of one of Optuna's samplers, and of the one that draws evenly."""
    for owner in (sampler, getattr(sampler, "_random_sampler", None)):
        for name in ("_rng", "_cma_rng"):
            if (state := getattr(owner, name, None)) is not None:
                state.rng.seed(seed)


class _View(StudyView):
    """A view in which infeasible trials are complete. It does not change."""

    def __init__(self, study: Study, bounded: bool) -> None:
        super().__init__(study)
        self._bounded = bounded
        self._trials: list[FrozenTrial] | None = None

    def shown(self, deepcopy: bool, use_cache: bool) -> list[FrozenTrial]:
        """Returns the same trials each time. Samplers change none, so they are not copied."""
        if self._trials is None:
            storage = self._study._storage
            if self._bounded and isinstance(storage, SingleWriter):
                every = storage.views.seen.notable(BEST, LATEST)
            else:
                every = self._study._get_trials(deepcopy=False)
            self._trials = with_infeasible(every)
        return self._trials


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
