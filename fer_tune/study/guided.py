"""The sampler of a search with rungs or priors. It chooses an arm and draws from it; see `arms`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from fer_tune.job import Value
from fer_tune.study.arms import ALONE, BESIDE_OTHERS, CHANCE, MODEL, Evidence
from fer_tune.study.configurations import Floats
from fer_tune.study.proposals import Proposer
from fer_tune.study.rung_view import reached, seen
from fer_tune.study.trial_states import DRAWN, PAUSED, START

FIXED = "fixed_params"
"""System attribute in which Optuna keeps the parameters of an enqueued trial."""

MOST = 400
"""How many trials the model learns from, at most: the best and the latest."""


@dataclass
class GuidedSampler(BaseSampler):
    """Draws each configuration from one arm.

    A draw depends only on the seed, the trial's place and the finished trials. So it does not
    matter whether the run was interrupted before.

    Args:
        place: returns the position among the draws for a trial's number.
        inner: the sampler that is the model; None is the model of effects.
    """

    proposer: Proposer
    place: Callable[[int], int]
    inner: BaseSampler | None = None
    _plans: dict[int, dict[str, Value]] = field(default_factory=dict)
    _points: dict[int, Floats] = field(default_factory=dict)
    _curves: dict[int, tuple[tuple[TrialState, int], dict[int, float]]] = field(default_factory=dict)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Chooses the arm. Returns what a model of Optuna draws jointly, else nothing."""
        if trial.number in self._plans or trial.params or FIXED in trial.system_attrs:
            return {}
        random = self._random(trial.number)
        evidence = self._evidence(study)
        arm = self.proposer.arm(evidence, random)
        study._storage.set_trial_user_attr(trial._trial_id, DRAWN, arm)
        if arm == MODEL and self.inner is not None:
            self.inner.before_trial(self._seen(study), trial)
            return self.inner.infer_relative_search_space(self._seen(study), trial)
        spread = ALONE if self._alone(study, trial) else BESIDE_OTHERS
        point = self.proposer.point(arm, evidence, random, spread)
        self._plans = {trial.number: self.proposer.cube.configuration(point)}
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Returns what a model of Optuna draws jointly."""
        if self.inner is None or not search_space:
            return {}
        return self.inner.sample_relative(self._seen(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Returns the value of one parameter."""
        plan = self._plans.get(trial.number)
        if plan is not None and param_name in plan:
            return plan[param_name]
        if plan is None and self.inner is not None and FIXED not in trial.system_attrs:
            return self.inner.sample_independent(self._seen(study), trial, param_name, param_distribution)
        if plan is None:  # a start configuration that leaves something out
            point = self.proposer.point(CHANCE, None, self._random(trial.number))
            self._plans = {trial.number: self.proposer.cube.configuration(point)}
            if param_name in self._plans[trial.number]:
                return self._plans[trial.number][param_name]
        at = self._random(trial.number).random(len(self.proposer.cube.parameters))
        return self.proposer.cube.value(param_name, at)

    # within -------------------------------------------------------------------------------------------------------

    def _alone(self, study: Study, trial: FrozenTrial) -> bool:
        """Returns whether no other trial is being trained."""
        if self.proposer.guide.alone is not None:
            return self.proposer.guide.alone
        begun = study._get_trials(deepcopy=False, states=(TrialState.RUNNING,), use_cache=True)
        return all(one.number == trial.number or one.user_attrs.get(PAUSED, False) for one in begun)

    def _evidence(self, study: Study) -> Evidence | None:
        """Returns what the trials say that reached at least the lowest level; None without any."""
        lowest = self.proposer.guide.levels[0]
        found: list[tuple[FrozenTrial, dict[int, float]]] = []
        for trial in study._get_trials(deepcopy=False, use_cache=True):
            if trial.state in (TrialState.FAIL, TrialState.WAITING):
                continue
            curve = self._reached(trial)
            if curve and (lowest in curve or trial.state == TrialState.COMPLETE):
                found.append((trial, curve))
        if not found:
            return None
        found = _most_telling(found)
        found.sort(key=lambda one: self.place(one[0].number))  # a trial that was queued again has a high number
        points = [self._point(trial) for trial, _ in found]
        arms = [str(trial.user_attrs.get(DRAWN, "")) for trial, _ in found]
        names = [str(trial.user_attrs.get(START, "")) for trial, _ in found]
        return Evidence.of(points, [curve for _, curve in found], arms, names, self.proposer.cube)

    def _reached(self, trial: FrozenTrial) -> dict[int, float]:
        """Returns the trial's values by level. They are read again if they may have changed."""
        key = (trial.state, len(trial.intermediate_values))
        known = self._curves.get(trial.number)
        if known is None or known[0] != key:
            known = self._curves[trial.number] = (key, reached(trial, self.proposer.guide.levels))
        return known[1]

    def _point(self, trial: FrozenTrial) -> Floats:
        if trial.number not in self._points:
            self._points[trial.number] = self.proposer.cube.point(trial.params, self._random(trial.number))
        return self._points[trial.number]

    def _seen(self, study: Study) -> Study:
        return seen(study, self.proposer.guide.levels)

    def _random(self, number: int) -> np.random.Generator:
        return self.proposer.random(self.place(number))


def _most_telling(found: list[tuple[FrozenTrial, dict[int, float]]]) -> list[tuple[FrozenTrial, dict[int, float]]]:
    """Returns the trials that got furthest and the latest ones, by number; at most `MOST`."""
    if len(found) <= MOST:
        return found
    latest, earlier = found[-MOST // 2 :], found[: -MOST // 2]
    earlier.sort(key=lambda one: (-max(one[1]), -one[1][max(one[1])]))
    kept = earlier[: MOST // 2]
    return sorted([*kept, *latest], key=lambda one: one[0].number)
