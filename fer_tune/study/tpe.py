"""Optuna's TPE, which draws the same and does what it repeats only once.

For each group of parameters, Optuna's sampler sorts the trials into good and bad ones again, and
converts their parameters again. With the groups of a conditional space, that is most of its time.
The overridden methods are private to Optuna, whose versions are bounded in pyproject.toml. A test
compares the draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace, _SearchSpaceGroup
from optuna.trial import FrozenTrial, TrialState

LOOKS_AT = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class OnceTPESampler(TPESampler):
    """A TPESampler that splits the trials once for each trial that it draws.

    Args:
        place: returns the position among the draws for a trial's number. TPE weighs trials by their
            order, and a trial that was queued again has a high number.
    """

    def __init__(self, place: Callable[[int], int] = int, **options: Any) -> None:
        super().__init__(**options)
        self._place = place
        if self._group_decomposed_search_space is not None:
            self._group_decomposed_search_space = _GrowingSearchSpace(include_pruned=True)
        self._split: tuple[list[FrozenTrial], list[FrozenTrial]] | None = None
        self._table = _ParameterRows()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As Optuna's. The next draw splits the trials again."""
        self._split = None
        super().before_trial(study, trial)

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        self._table.learn(search_space)
        below, above = self._split or self._split_trials(study, trial)
        below_estimator = self._build_parzen_estimator(study, search_space, below, handle_below=True)
        above_estimator = self._build_parzen_estimator(study, search_space, above, handle_below=False)
        samples = below_estimator.sample(self._rng.rng, self._n_ei_candidates)
        values = self._compute_acquisition_func(samples, below_estimator, above_estimator)
        chosen = TPESampler._compare(samples, values)
        return {name: of_name.to_external_repr(chosen[name]) for name, of_name in search_space.items()}

    def _split_trials(self, study: Study, trial: FrozenTrial) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        states = LOOKS_AT if self._constant_liar else LOOKS_AT[:2]
        trials = [other for other in study._get_trials(deepcopy=False, states=states) if other.number != trial.number]
        ended = sum(other.state != TrialState.RUNNING for other in trials)
        if self._search_space_group is not None:
            for group in self._search_space_group.search_spaces:
                self._table.learn(group)
        for other in trials:
            if not self._table.has(other):
                self._table.learn(other.distributions)
                self._table.put(other, self._get_params(other, study))
        below, above = _split_trials(study, trials, (self._gamma or default_gamma)(ended))
        self._split = self._in_order(below), self._in_order(above)
        return self._split

    def _in_order(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        return sorted(trials, key=lambda trial: self._place(trial.number))

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, np.ndarray]:
        return self._table.rows([trial.number for trial in trials], list(search_space))


class _GrowingSearchSpace(_GroupDecomposedSearchSpace):
    """Groups of parameters, to which each trial is added once."""

    def __init__(self, include_pruned: bool = False) -> None:
        super().__init__(include_pruned)
        self._added: set[int] = set()

    def calculate(self, study: Study, use_cache: bool = False) -> _SearchSpaceGroup:
        """As Optuna's."""
        for trial in study._get_trials(deepcopy=False, states=LOOKS_AT[:2], use_cache=use_cache):
            if trial.number not in self._added:
                self._added.add(trial.number)
                self._search_space.add_distributions(trial.distributions)
        found = _SearchSpaceGroup()
        found._search_spaces = list(self._search_space.search_spaces)
        return found


class _ParameterRows:
    """The parameters of trials as Optuna's numbers: a row a trial, a column a name."""

    def __init__(self) -> None:
        self._numbers = np.full((64, 8), np.nan)
        self._columns: dict[str, int] = {}
        self._distributions: dict[str, BaseDistribution] = {}
        self._known: dict[int, bool] = {}

    def learn(self, distributions: dict[str, BaseDistribution]) -> None:
        """Makes a column for each parameter."""
        for name, distribution in distributions.items():
            if name not in self._columns:
                self._columns[name] = len(self._columns)
                self._distributions[name] = distribution
        self._grow(1, len(self._columns))

    def has(self, trial: FrozenTrial) -> bool:
        """Returns whether the row of a trial is up to date."""
        return self._known.get(trial.number) == trial.state.is_finished()

    def put(self, trial: FrozenTrial, params: dict[str, Any]) -> None:
        """Writes the row of a trial."""
        self._grow(trial.number + 1, 1)
        row = self._numbers[trial.number]
        row[:] = np.nan
        for name, value in params.items():
            row[self._columns[name]] = self._distributions[name].to_internal_repr(value)
        self._known[trial.number] = trial.state.is_finished()

    def rows(self, numbers: list[int], names: list[str]) -> dict[str, np.ndarray]:
        """Returns the values by name, of those trials that have all of these parameters."""
        chosen = self._numbers[np.ix_(numbers, [self._columns[name] for name in names])]
        chosen = chosen[~np.isnan(chosen).any(axis=1)]
        return {name: chosen[:, place] for place, name in enumerate(names)}

    def _grow(self, rows: int, columns: int) -> None:
        before = self._numbers
        if rows > before.shape[0] or columns > before.shape[1]:
            shape = (max(before.shape[0], 2 * rows), max(before.shape[1], 2 * columns))
            self._numbers = np.full(shape, np.nan)
            self._numbers[: before.shape[0], : before.shape[1]] = before
