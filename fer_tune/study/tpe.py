"""Optuna's TPE, which draws the same and does what it repeats only once.

For each group of parameters, Optuna's sampler sorts the trials into good and bad ones again, and
converts their parameters again. With the groups of a conditional space, that is most of its time.
Here a trial is scored and converted once, when it has ended. The overridden methods are private to
Optuna, whose versions are bounded in pyproject.toml. A test compares the draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import (
    _get_infeasible_trial_score,
    _get_pruned_trial_score,
    default_gamma,
)
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace, _SearchSpaceGroup
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from fer_tune.study.normal_distribution import speed_up_tpe

LOOKS_AT = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)

Numbers = np.ndarray[tuple[int, int], np.dtype[np.float64]]
"""Parameters as Optuna's numbers: a row a trial, a column a name; nan where a trial has none."""


class _Score(NamedTuple):
    """How good a trial is among those of its kind, from the least on."""

    trial: FrozenTrial
    kind: str
    value: Any


class OnceTPESampler(TPESampler):
    """A TPESampler that splits the trials once for each trial that it draws.

    Args:
        place: returns the position among the draws for a trial's number. TPE weighs trials by their
            order, and a trial that was queued again has a high number.
    """

    def __init__(self, place: Callable[[int], int] = int, **options: Any) -> None:
        super().__init__(**options)
        speed_up_tpe()
        self._place = place
        if self._group_decomposed_search_space is not None:
            self._group_decomposed_search_space = _GrowingSearchSpace(include_pruned=True)
        self._split: tuple[Numbers, Numbers] | None = None
        self._table = _ParameterRows()
        self._scores: dict[int, _Score] = {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As Optuna's. The next draw splits the trials again."""
        self._split = None
        super().before_trial(study, trial)

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        self._table.learn(search_space)
        if self._split is None:
            self._split = self._split_trials(study, trial)
        below, above = (
            self._parzen_estimator_cls(
                self._table.columns(rows, list(search_space)), search_space, self._parzen_estimator_parameters
            )
            for rows in self._split
        )
        samples = below.sample(self._rng.rng, self._n_ei_candidates)
        values = self._compute_acquisition_func(samples, below, above)
        chosen = TPESampler._compare(samples, values)
        return {name: of_name.to_external_repr(chosen[name]) for name, of_name in search_space.items()}

    def _split_trials(self, study: Study, trial: FrozenTrial) -> tuple[Numbers, Numbers]:
        """Returns the parameters of the good trials, and those of the others."""
        states = LOOKS_AT if self._constant_liar else LOOKS_AT[:2]
        trials = [other for other in study._get_trials(deepcopy=False, states=states) if other.number != trial.number]
        if self._search_space_group is not None:
            for group in self._search_space_group.search_spaces:
                self._table.learn(group)
        kinds: dict[str, list[_Score]] = {"complete": [], "pruned": [], "infeasible": [], "running": []}
        for other in trials:
            score = self._score(other, study)
            kinds[score.kind].append(score)
        wanted = (self._gamma or default_gamma)(len(trials) - len(kinds["running"]))
        below: list[_Score] = []
        above = kinds.pop("running")
        for scores in kinds.values():
            scores.sort(key=itemgetter(2))
            count = max(0, wanted - len(below))
            below += scores[:count]
            above += scores[count:]
        return self._rows(below), self._rows(above)

    def _score(self, trial: FrozenTrial, study: Study) -> _Score:
        """Returns a trial's score, and writes its row. Both are kept for one that has ended."""
        known = self._scores.get(trial.number)
        if known is not None and known.trial is trial:
            return known
        if not self._table.has(trial):
            self._table.learn(trial.distributions)
            self._table.put(trial, self._get_params(trial, study))
        kind, value = _kind_and_value(trial, study)
        score = self._scores[trial.number] = _Score(trial, kind, value)
        return score

    def _rows(self, scores: Sequence[_Score]) -> Numbers:
        numbers = [score.trial.number for score in scores]
        return self._table.rows(sorted(numbers, key=lambda number: (self._place(number), number)))


def _kind_and_value(trial: FrozenTrial, study: Study) -> tuple[str, Any]:
    """Returns the kind of a trial, and what Optuna sorts trials of this kind by."""
    if trial.state == TrialState.RUNNING:
        return "running", 0.0
    if (excess := _get_infeasible_trial_score(trial)) > 0:
        return "infeasible", excess
    if trial.state == TrialState.PRUNED:
        return "pruned", _get_pruned_trial_score(trial, study)
    assert trial.value is not None
    return "complete", trial.value if study.direction == StudyDirection.MINIMIZE else -trial.value


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

    def rows(self, numbers: Sequence[int]) -> Numbers:
        """Returns the rows of trials."""
        return self._numbers[list(numbers)]

    def columns(self, rows: Numbers, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns the values by name, of those rows that have all of these parameters."""
        places = [self._columns[name] for name in names]
        if max(places) >= rows.shape[1]:  # a column that was made later, so none of them has it
            return {name: np.empty(0) for name in names}
        chosen = rows[:, places]
        chosen = chosen[~np.isnan(chosen).any(axis=1)]
        return {name: chosen[:, place] for place, name in enumerate(names)}

    def _grow(self, rows: int, columns: int) -> None:
        before = self._numbers
        if rows > before.shape[0] or columns > before.shape[1]:
            shape = (max(before.shape[0], 2 * rows), max(before.shape[1], 2 * columns))
            self._numbers = np.full(shape, np.nan)
            self._numbers[: before.shape[0], : before.shape[1]] = before
