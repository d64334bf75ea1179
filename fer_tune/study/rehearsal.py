"""Rehearses a search before it runs: what it will propose, and what these trials will cost.

The first proposals of a search depend on its seed alone, so they are known. Later ones depend on
what trials reach. A rehearsal supposes that: it draws effects of the hyperparameters that agree
with the trials measured so far. A search prefers what is good, which may be slow, such as a wide
network. So random configurations alone would forecast too little.

If the same search ran before, perhaps under another seed, its own trials say what the next one will
cost. But chance leads a search to slow networks or to fast ones, and it may lead the next one
elsewhere. So half of the plays repeat these trials, and half rehearse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from statistics import median

import numpy as np

from fer_tune.job import Value
from fer_tune.selection import effects, epoch_cost
from fer_tune.selection.cost import MeasuredTrial, PlayedTrial, PlayedTrials, TrialPace
from fer_tune.selection.effects import EffectModel
from fer_tune.selection.epoch_cost import EpochCost
from fer_tune.study.arms import ALONE, BESIDE_OTHERS, Evidence
from fer_tune.study.configurations import Cube, Floats
from fer_tune.study.proposals import Guide, Proposer
from fer_tune.sweep.catalogue import defaults
from fer_tune.sweep.rung_levels import levels_of
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Space, fixed_values, keyed, named, same

FEWEST = 6
"""With fewer measured configurations, nothing is known of what the hyperparameters cost."""

REHEARSED = 40
"""So many trials are proposed one by one. Those after them are like some of the last ones."""

LAST = 20
"""How many of the proposed trials later ones are like."""

SLOW = 0.2
"""By how many standard deviations a trial is supposed to be better whose epochs take a standard
deviation longer: a larger network, or more steps. Searches of the demo prefer slow networks more
than that, and simulated searches on faces prefer them less (benchmarks/README.md)."""

AGAIN = 24
"""With so many trials of the same search, every second play repeats them."""

RANDOM = 200
"""Random configurations whose cost is predicted."""

LEAST_DEVIATION = 0.1
"""Configurations whose epochs take the same time are not better or worse for it."""

LEAST_SPREAD = 1e-6
"""Trials whose objectives differ less than that are equally good."""

MEAN, DEVIATION = 0.5, 0.05
"""The objective of random configurations that is supposed. The sampler's constants suit
accuracies."""


@dataclass(frozen=True)
class Waiting:
    """A trial that the study will start before its sampler proposes others.

    Attributes:
        name: of the start configuration.
        params: by key.
        whole: whether it does not pause at rungs.
        seconds: of an epoch, if the same configuration was trained before.
    """

    name: str
    params: Mapping[str, Value]
    whole: bool
    seconds: float | None = None

    def known(self, space: Space, trials: Sequence[MeasuredTrial]) -> Waiting:
        """Returns it with the seconds that measured trials of this configuration took."""
        params = fixed_values(space) | named(self.params)
        if any(one.active(params) and one.name not in params for one in space.values()):
            return self  # the sampler will fill in the rest
        found = [
            trial.seconds
            for trial in trials
            if all(name in trial.params and same(trial.params[name], value) for name, value in params.items())
        ]
        return replace(self, seconds=median(found)) if found else self

    def played(self, cube: Cube, point: Floats, supposed: Supposed, random: np.random.Generator) -> PlayedTrial:
        """Returns the trial, whose configuration is a point [P] of the cube."""
        trial = supposed.played(cube, point, random)
        return replace(trial, whole=self.whole, seconds=trial.seconds if self.seconds is None else self.seconds)


@dataclass(frozen=True)
class Supposed:
    """What one rehearsal takes for true.

    Attributes:
        shared: see `Learned`.
        effects: [F] of the features on the worth of a trial; None if nothing is known of them.
        own: standard deviation of what the effects do not explain.
        cost: what an epoch costs.
        mean, deviation: of the logarithm of the seconds, over the space.
    """

    shared: dict[str, Value]
    effects: Floats | None
    own: float
    cost: EpochCost
    mean: float
    deviation: float

    def played(self, cube: Cube, point: Floats, random: np.random.Generator) -> PlayedTrial:
        """Returns a trial whose configuration is a point [P] of the cube."""
        (row,) = cube.features(point[None])
        seconds = self.cost.seconds(self.shared | named(cube.configuration(point)))
        worth = self.own * random.normal() + (0.0 if self.effects is None else float(row @ self.effects))
        worth += SLOW * (math.log(seconds) - self.mean) / self.deviation
        return PlayedTrial(worth, seconds * math.exp(random.choice(self.cost.left)))


@dataclass(frozen=True)
class Learned:
    """What measured trials say of costs and worth, and what random configurations cost.

    Attributes:
        shared: the hyperparameters that all trials of the sweep share.
        worth: of trials that the sweep could draw; None if there are too few of them.
        own: standard deviation of their worth that the effects do not explain.
        logs: [R] the logarithm of the seconds of an epoch of random configurations.
    """

    shared: dict[str, Value]
    cost: EpochCost
    worth: EffectModel | None
    own: float
    logs: Floats

    @classmethod
    def of(cls, sweep: Sweep, cube: Cube, pace: TrialPace) -> Learned | None:
        """Returns what measured trials say; None if there are too few of them."""
        trials = [trial for trial in pace.trials if trial.params and trial.seconds > 0]
        if len(trials) < FEWEST:
            return None
        random = np.random.default_rng(0)
        unnamed = defaults(sweep.family)
        cost = epoch_cost.fit([{**unnamed, **trial.params} for trial in trials], [trial.seconds for trial in trials])
        shared = unnamed | fixed_values(sweep.space)
        logs = np.log([cost.seconds(shared | named(cube.configuration(point))) for point in cube.draw(RANDOM, random)])
        alike = [trial for trial in trials if trial.curve]
        if len(alike) < FEWEST or not cube.parameters:
            return cls(shared, cost, None, 1.0, logs)
        points = [cube.point(keyed(sweep.space, trial.params), random) for trial in alike]
        evidence = Evidence.of(points, [trial.curve for trial in alike], [""] * len(alike), cube=cube)
        rows = cube.features(evidence.points)
        worth = effects.fit(rows, evidence.values, evidence.noise, cube.groups)
        own = float(np.std(evidence.values - worth.predict(rows)[0])) / worth.scale
        return cls(shared, cost, worth, own, logs)

    def suppose(self, random: np.random.Generator) -> Supposed:
        """Returns effects that may be the true ones."""
        return Supposed(
            shared=self.shared,
            effects=None if self.worth is None else self.worth.draw(random, 1.0),
            own=self.own,
            cost=self.cost.drawn(random),
            mean=float(self.logs.mean()),
            deviation=max(float(self.logs.std()), LEAST_DEVIATION),
        )


class Rehearsal:
    """The trials of one play of a search.

    Args:
        waiting: the trials that start first.
        place: of the first proposal among the draws of the study.
        alone: whether trials are trained one at a time.
    """

    def __init__(
        self,
        proposer: Proposer,
        supposed: Supposed,
        waiting: Sequence[Waiting],
        random: np.random.Generator,
        *,
        place: int,
        alone: bool,
    ) -> None:
        self._proposer, self._supposed = proposer, supposed
        self._waiting, self._place = waiting, place
        self._spread = ALONE if alone else BESIDE_OTHERS
        self._random = random
        self._points: list[Floats] = []
        self._arms: list[str] = []

    def next(self, curves: Sequence[Mapping[int, float]]) -> PlayedTrial:
        """Returns the next trial: one that waits, one that is proposed, or one like the last."""
        number, cube, random = len(curves), self._proposer.cube, self._random
        if number < len(self._waiting):
            one = self._waiting[number]
            self._note("", cube.point(one.params, random))
            return one.played(cube, self._points[-1], self._supposed, random)
        if number >= len(self._waiting) + REHEARSED:
            return self._played(self._points[-1 - int(random.integers(LAST))])
        own = self._proposer.random(self._place + number - len(self._waiting))
        evidence = self._evidence(curves)
        arm = self._proposer.arm(evidence, own)
        self._note(arm, self._proposer.point(arm, evidence, own, self._spread))
        return self._played(self._points[-1])

    def _note(self, arm: str, point: Floats) -> None:
        self._points.append(point)
        self._arms.append(arm)

    def _played(self, point: Floats) -> PlayedTrial:
        return self._supposed.played(self._proposer.cube, point, self._random)

    def _evidence(self, curves: Sequence[Mapping[int, float]]) -> Evidence | None:
        known = [number for number, curve in enumerate(curves) if curve]
        if not known or not self._proposer.cube.parameters:
            return None
        return Evidence.of(
            [self._points[number] for number in known],
            [{epoch: MEAN + DEVIATION * value for epoch, value in curves[number].items()} for number in known],
            [self._arms[number] for number in known],
            [self._waiting[number].name if number < len(self._waiting) else "" for number in known],
            self._proposer.cube,
        )


class Repetition:
    """The trials of one play of a search that ran before: those that wait, and then trials like its
    own. They cost as much, and are as good at the lowest rung.

    Args:
        supposed: what the waiting trials cost.
        again: the trials that it proposed before.
        lowest: the epoch of the lowest rung.
    """

    def __init__(
        self,
        cube: Cube,
        supposed: Supposed,
        waiting: Sequence[Waiting],
        again: Sequence[MeasuredTrial],
        random: np.random.Generator,
        *,
        lowest: int,
    ) -> None:
        self._cube, self._supposed, self._waiting, self._random = cube, supposed, waiting, random
        known = [trial.curve[lowest] for trial in again if lowest in trial.curve] or [0.0]
        mean, deviation = float(np.mean(known)), max(float(np.std(known)), LEAST_SPREAD)
        self._trials = [
            PlayedTrial((trial.curve.get(lowest, mean) - mean) / deviation, trial.seconds)
            # Few trials say less than many, so each play has its own choice of them.
            for trial in (again[place] for place in random.integers(len(again), size=len(again)))
        ]

    def next(self, curves: Sequence[Mapping[int, float]]) -> PlayedTrial:
        """Returns the next trial: one that waits, or one like those of before."""
        if len(curves) < len(self._waiting):
            one = self._waiting[len(curves)]
            return one.played(self._cube, self._cube.point(one.params, self._random), self._supposed, self._random)
        return self._trials[int(self._random.integers(len(self._trials)))]


def rehearsed(
    sweep: Sweep,
    centres: Sequence[Mapping[str, Value]],
    pace: TrialPace,
    waiting: Sequence[Waiting],
    *,
    place: int,
    alone: bool,
) -> Callable[[np.random.Generator], PlayedTrials] | None:
    """Returns what makes the trials of a play; None if too few trials were measured.

    Models of Optuna are rehearsed by the model of effects.

    Args:
        centres: the configurations of the sweep's prior, by key.
        waiting, place, alone: see `Rehearsal`.
    """
    guide, cube = Guide.of(sweep, centres), Cube(sweep.space)
    if sweep.sampler.name in ("random", "qmc"):
        guide = replace(guide, chance=1.0, best=0.0)
    learned = Learned.of(sweep, cube, pace)
    if learned is None:
        return None
    waiting = [one.known(sweep.space, pace.trials) for one in waiting]
    proposer, alone = Proposer(guide, cube), alone if guide.alone is None else guide.alone

    def rehearsal(random: np.random.Generator) -> PlayedTrials:
        return Rehearsal(proposer, learned.suppose(random), waiting, random, place=place, alone=alone)

    again = [trial for trial in pace.trials if trial.searched]
    if len(again) < AGAIN:
        return rehearsal
    lowest = levels_of(sweep)[0]

    def repetition(random: np.random.Generator) -> PlayedTrials:
        return Repetition(cube, learned.suppose(random), waiting, again, random, lowest=lowest)

    turns = cycle((repetition, rehearsal))

    def either(random: np.random.Generator) -> PlayedTrials:
        return next(turns)(random)

    return either
