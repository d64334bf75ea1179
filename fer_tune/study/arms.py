"""Where the next configuration comes from: a prior, the best trials, a model, or chance.

Each of these is an arm. How often an arm is used follows the evidence: how many of its trials are
among the best. So a misleading prior is soon used rarely. PriorBand
(arXiv 2306.12370) weighs its arms for the same reason, by the densities of the best trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fer_tune.selection import effects
from fer_tune.selection.extrapolation import Configurations, forecast
from fer_tune.study.configurations import Cube, Floats

PRIOR, BEST, MODEL, CHANCE = "prior", "best", "model", "random"
"""The arms, as a trial's user attribute `drawn` names them."""

DOUBT = 6.0
"""How many trials the initial weight of an arm counts as."""

CANDIDATES = 128
"""Points that are drawn evenly, and as many near the best ones, for the model to choose from."""

CLIMBS = 4
"""How often the model's candidates are replaced by points near the best of them."""

ALONE, BESIDE_OTHERS = 0.5, 1.0
"""The part of their spread by which the effects of a draw differ from the expected ones: if no
other trial is being trained, and if others are.

One slot knows all results before each draw, and searches faster with less chance. In the simulation
of deep_cnn, 40 seeds then reach 63 % after 38 s instead of 70. Several slots draw without knowing
what the others will find, so their draws must differ. On GPUs with eight lanes, three searches for
deep_cnn found 64.7 % with half of the spread, and 65.3 % with all of it.
"""


@dataclass(frozen=True)
class Closeness:
    """How near to a point others are drawn: see `Cube.near`."""

    spread: float
    chance: float


NEAR_BEST = Closeness(0.2, 0.3)
CONFIDENCE = {"low": Closeness(0.3, 0.6), "medium": Closeness(0.2, 0.4), "high": Closeness(0.1, 0.25)}
"""How near to its configurations a prior is drawn, by the confidence in it."""

WEIGHTS = {"low": 0.2, "medium": 0.4, "high": 0.6}
"""How often a prior is used before there is evidence, by the confidence in it."""


@dataclass(frozen=True)
class Evidence:
    """The trials that reached at least the lowest level.

    Attributes:
        points: [N, P] their configurations.
        values: [N] their forecast objectives.
        noise: [N] the relative variances of these.
        arms: the arm of each; empty for a start configuration.
        names: the name of each start configuration; empty for others.
    """

    points: Floats
    values: Floats
    noise: Floats
    arms: tuple[str, ...]
    names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        points: Sequence[Floats],
        curves: Sequence[Mapping[int, float]],
        arms: Sequence[str],
        names: Sequence[str] = (),
        cube: Cube | None = None,
    ) -> Evidence:
        """Returns the evidence of trials, given what they reached by level.

        Args:
            cube: of the points. With it, forecasts depend on the configurations.
        """
        configurations = None if cube is None else Configurations(cube.features(np.array(points)), cube.groups)
        values, variances = forecast(curves, configurations)
        return cls(np.array(points), values, variances / variances.min(), tuple(arms), tuple(names))

    def best(self, count: int) -> Floats:
        """Returns the points of the trials with the best forecasts, the best first."""
        return self.points[np.argsort(-self.values, kind="stable")[:count]]


def weights(initial: Mapping[str, float], evidence: Evidence | None, factor: int) -> dict[str, float]:
    """Returns how often to use each arm. The weights sum to 1.

    Args:
        initial: how often without evidence.
        factor: one in so many trials is expected to be among the best.
    """
    found = dict(initial)
    if evidence is not None and len(evidence.arms) >= factor:
        bar = np.quantile(evidence.values, 1 - 1 / factor)
        for arm in found:
            own = np.array([name == arm for name in evidence.arms])
            good = float(np.sum(own & (evidence.values >= bar)))
            found[arm] *= ((good * factor + DOUBT) / (float(own.sum()) + DOUBT)) ** 2
    total = sum(found.values())
    return {arm: weight / total for arm, weight in found.items()}


def near_one_of(cube: Cube, centres: Floats, random: np.random.Generator, closeness: Closeness) -> Floats:
    """Returns a point near one of the centres [N, P]. The first ones are chosen most often."""
    place = min(len(centres) - 1, int(random.exponential(len(centres) / 3)))
    return np.ravel(cube.near(centres[place][None], random, spread=closeness.spread, chance=closeness.chance))


def from_model(cube: Cube, evidence: Evidence, random: np.random.Generator, spread: float = BESIDE_OTHERS) -> Floats:
    """Returns the best point according to one set of effects that may be the true ones.

    The effects are drawn from what the model holds possible (Thompson sampling). So what is
    uncertain is explored, and what is known to matter is used.

    Args:
        spread: see `ALONE`.
    """
    model = effects.fit(cube.features(evidence.points), evidence.values, evidence.noise, cube.groups)
    drawn = model.draw(random, spread)
    best = evidence.best(max(3, len(evidence.values) // 9))
    centres = best[random.integers(len(best), size=CANDIDATES)]
    near = cube.near(centres, random, spread=NEAR_BEST.spread, chance=NEAR_BEST.chance)
    points = np.concatenate([cube.draw(CANDIDATES, random), near])
    for _ in range(CLIMBS):
        points = points[np.argsort(-(cube.features(points) @ drawn))[:8]]
        around = cube.near(np.repeat(points, 12, axis=0), random, spread=NEAR_BEST.spread, chance=0.15)
        points = np.concatenate([points, around])
    return np.ravel(points[np.argmax(cube.features(points) @ drawn)])
