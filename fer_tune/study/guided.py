"""The sampler of a search with rungs or priors. It chooses an arm and draws from it; see `arms`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from fer_tune.job import Value
from fer_tune.study.arms import (
    ALONE,
    BESIDE_OTHERS,
    BEST,
    CHANCE,
    CONFIDENCE,
    MODEL,
    NEAR_BEST,
    PRIOR,
    WEIGHTS,
    Closeness,
    Evidence,
    from_model,
    near_one_of,
    weights,
)
from fer_tune.study.configurations import Cube, Floats
from fer_tune.study.priors import prior_names
from fer_tune.study.rung_view import reached, seen
from fer_tune.study.rungs import levels_of
from fer_tune.study.trial_states import DRAWN, PAUSED, START
from fer_tune.sweep.schema import Sweep

FIXED = "fixed_params"
"""System attribute in which Optuna keeps the parameters of an enqueued trial."""

MOST = 400
"""How many trials the model learns from, at most: the best and the latest."""


@dataclass(frozen=True)
class Guide:
    """What a guided sampler is made of.

    Attributes:
        levels: epochs at which trials are compared, rising. The last one is the schedule.
        factor: of the rungs.
        seed: of the sampler.
        startup: how many trials are drawn before a model or the best trials are used.
        inner: the sampler that is the model; None is the model of effects.
        chance, best: how often to draw evenly, and near the best trials, without evidence.
        centres: the configurations of the prior by key, the most trusted first; empty without a
            prior.
        names: of the trials that have these configurations.
        prior: how often to use the prior without evidence.
        closeness: how near to them the prior is drawn.
        alone: whether trials are trained one at a time. None looks at each draw whether others are
            being trained.
    """

    levels: Sequence[int]
    factor: int
    seed: int
    startup: int = 12
    inner: BaseSampler | None = None
    chance: float = 0.15
    best: float = 0.15
    centres: Sequence[Mapping[str, Value]] = ()
    names: Sequence[str] = ()
    prior: float = 0.0
    closeness: Closeness = NEAR_BEST
    alone: bool | None = None


@dataclass
class GuidedSampler(BaseSampler):
    """Draws each configuration from one arm.

    A draw depends only on the seed, the trial's place and the finished trials. So it does not
    matter whether the run was interrupted before.

    Args:
        place: returns the position among the draws for a trial's number.
    """

    guide: Guide
    cube: Cube
    place: Callable[[int], int]
    _plans: dict[int, dict[str, Value]] = field(default_factory=dict)
    _points: dict[int, Floats] = field(default_factory=dict)
    _curves: dict[int, tuple[tuple[TrialState, int], dict[int, float]]] = field(default_factory=dict)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Chooses the arm. Returns what a model of Optuna draws jointly, else nothing."""
        if trial.number in self._plans or trial.params or FIXED in trial.system_attrs:
            return {}
        random = self._random(trial.number)
        evidence = self._evidence(study)
        arm = self._arm(evidence, random)
        study._storage.set_trial_user_attr(trial._trial_id, DRAWN, arm)
        if arm == MODEL and self.guide.inner is not None:
            self.guide.inner.before_trial(self._seen(study), trial)
            return self.guide.inner.infer_relative_search_space(self._seen(study), trial)
        spread = ALONE if self._alone(study, trial) else BESIDE_OTHERS
        self._plans = {trial.number: self._plan(arm, evidence, random, spread)}
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Returns what a model of Optuna draws jointly."""
        if self.guide.inner is None or not search_space:
            return {}
        return self.guide.inner.sample_relative(self._seen(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Returns the value of one parameter."""
        plan = self._plans.get(trial.number)
        if plan is not None and param_name in plan:
            return plan[param_name]
        if plan is None and self.guide.inner is not None and FIXED not in trial.system_attrs:
            return self.guide.inner.sample_independent(self._seen(study), trial, param_name, param_distribution)
        if plan is None:  # a start configuration that leaves something out
            self._plans = {trial.number: self._plan(CHANCE, None, self._random(trial.number))}
            if param_name in self._plans[trial.number]:
                return self._plans[trial.number][param_name]
        at = self._random(trial.number).random(len(self.cube.parameters))
        return self.cube.value(param_name, at)

    # within -------------------------------------------------------------------------------------------------------

    def _arm(self, evidence: Evidence | None, random: np.random.Generator) -> str:
        guide = self.guide
        initial = {PRIOR: guide.prior} if guide.centres else {}
        rest = 1.0 - sum(initial.values())
        if evidence is None or len(evidence.values) < guide.startup:
            initial[CHANCE] = rest
        else:
            model = 1.0 - guide.chance - guide.best
            initial |= {CHANCE: rest * guide.chance, BEST: rest * guide.best, MODEL: rest * model}
        share = weights(initial, evidence, guide.factor)
        return str(random.choice(list(share), p=list(share.values())))

    def _alone(self, study: Study, trial: FrozenTrial) -> bool:
        """Returns whether no other trial is being trained."""
        if self.guide.alone is not None:
            return self.guide.alone
        begun = study._get_trials(deepcopy=False, states=(TrialState.RUNNING,), use_cache=True)
        return all(one.number == trial.number or one.user_attrs.get(PAUSED, False) for one in begun)

    def _plan(
        self, arm: str, evidence: Evidence | None, random: np.random.Generator, spread: float = BESIDE_OTHERS
    ) -> dict[str, Value]:
        cube, guide = self.cube, self.guide
        if arm == PRIOR:
            centres = np.array([cube.point(centre, random) for centre in self._trusted(evidence)])
            point = near_one_of(cube, centres, random, guide.closeness)
        elif arm == BEST and evidence is not None:
            point = near_one_of(cube, evidence.best(max(3, len(evidence.values) // 20)), random, NEAR_BEST)
        elif arm == MODEL and evidence is not None:
            point = from_model(cube, evidence, random, spread)
        else:
            point = cube.draw(1, random)[0]
        return cube.configuration(point)

    def _trusted(self, evidence: Evidence | None) -> list[Mapping[str, Value]]:
        """Returns the configurations of the prior, the best first.

        As soon as some of them were trained, the others are left out. So a poor one among good ones
        does no harm.
        """
        known = {} if evidence is None else dict(zip(evidence.names, evidence.values, strict=True))
        named = list(zip(self.guide.names, self.guide.centres, strict=True))
        trained = [(name, centre) for name, centre in named if name in known]
        trained.sort(key=lambda one: -known[one[0]])
        return [centre for _, centre in trained[: max(1, len(trained) // 2)] or named]

    def _evidence(self, study: Study) -> Evidence | None:
        """Returns what the trials say that reached at least the lowest level; None without any."""
        lowest = self.guide.levels[0]
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
        return Evidence.of(points, [curve for _, curve in found], arms, names, self.cube)

    def _reached(self, trial: FrozenTrial) -> dict[int, float]:
        """Returns the trial's values by level. They are read again if they may have changed."""
        key = (trial.state, len(trial.intermediate_values))
        known = self._curves.get(trial.number)
        if known is None or known[0] != key:
            known = self._curves[trial.number] = (key, reached(trial, self.guide.levels))
        return known[1]

    def _point(self, trial: FrozenTrial) -> Floats:
        if trial.number not in self._points:
            self._points[trial.number] = self.cube.point(trial.params, self._random(trial.number))
        return self._points[trial.number]

    def _seen(self, study: Study) -> Study:
        return seen(study, self.guide.levels)

    def _random(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.guide.seed, self.place(number)])


def guided(
    sweep: Sweep,
    inner: BaseSampler | None,
    place: Callable[[int], int],
    centres: Sequence[Mapping[str, Value]] = (),
) -> GuidedSampler:
    """Returns the guided sampler of a sweep.

    Args:
        inner: see `Guide`.
        place: see `GuidedSampler`.
        centres: the configurations of the sweep's prior, by key.
    """
    search, options = sweep.search, sweep.sampler.options
    prior = {}
    if search.prior is not None and centres:
        confidence = search.prior.confidence
        prior = {
            "centres": centres,
            "names": prior_names(sweep, len(centres)),
            "prior": WEIGHTS[confidence],
            "closeness": CONFIDENCE[confidence],
        }
    guide = Guide(
        levels=levels_of(sweep),
        factor=search.factor,
        seed=sweep.seed if sweep.sampler.seed is None else sweep.sampler.seed,
        startup=options.get("n_startup_trials", 12),
        inner=inner,
        # what is being trained at a draw depends on timing, but not the number of logical slots
        alone=sweep.schedule.slots == 1 if sweep.schedule.name == "deterministic" else None,
        **prior,  # type: ignore[arg-type]
    )
    return GuidedSampler(guide, Cube(sweep.space), place)


def _most_telling(found: list[tuple[FrozenTrial, dict[int, float]]]) -> list[tuple[FrozenTrial, dict[int, float]]]:
    """Returns the trials that got furthest and the latest ones, by number; at most `MOST`."""
    if len(found) <= MOST:
        return found
    latest, earlier = found[-MOST // 2 :], found[: -MOST // 2]
    earlier.sort(key=lambda one: (-max(one[1]), -one[1][max(one[1])]))
    kept = earlier[: MOST // 2]
    return sorted([*kept, *latest], key=lambda one: one[0].number)
