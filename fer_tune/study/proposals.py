"""Proposes configurations. It chooses an arm and draws from it; see `arms`.

A proposal depends only on the random generator and on what is known of earlier trials. So a search
and the rehearsal of a search propose alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer_tune.job import Value
from fer_tune.study.arms import (
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
from fer_tune.sweep.rung_levels import levels_of
from fer_tune.sweep.schema import Sweep


@dataclass(frozen=True)
class Guide:
    """What decides which configurations are proposed.

    Attributes:
        levels: epochs at which trials are compared, rising. The last one is the schedule.
        factor: of the rungs.
        seed: of the sampler.
        startup: how many trials are drawn before a model or the best trials are used.
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
    chance: float = 0.15
    best: float = 0.15
    centres: Sequence[Mapping[str, Value]] = ()
    names: Sequence[str] = ()
    prior: float = 0.0
    closeness: Closeness = NEAR_BEST
    alone: bool | None = None

    @classmethod
    def of(cls, sweep: Sweep, centres: Sequence[Mapping[str, Value]] = ()) -> Guide:
        """Returns the guide of a sweep.

        Args:
            centres: the configurations of the sweep's prior, by key.
        """
        search, options = sweep.search, sweep.sampler.options
        prior: dict[str, Any] = {}
        if search.prior is not None and centres:
            confidence = search.prior.confidence
            prior = {
                "centres": centres,
                "names": prior_names(sweep, len(centres)),
                "prior": WEIGHTS[confidence],
                "closeness": CONFIDENCE[confidence],
            }
        return cls(
            levels=levels_of(sweep),
            factor=search.factor,
            seed=sweep.seed if sweep.sampler.seed is None else sweep.sampler.seed,
            startup=options.get("n_startup_trials", 12),
            # what is being trained at a draw depends on timing, but not the number of logical slots
            alone=sweep.schedule.slots == 1 if sweep.schedule.name == "deterministic" else None,
            **prior,
        )


@dataclass(frozen=True)
class Proposer:
    """Proposes points of a cube."""

    guide: Guide
    cube: Cube

    def random(self, place: int) -> np.random.Generator:
        """Returns the random generator of the trial at a place among the draws."""
        return np.random.default_rng([self.guide.seed, place])

    def arm(self, evidence: Evidence | None, random: np.random.Generator) -> str:
        """Returns the arm that the next configuration comes from."""
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

    def point(
        self, arm: str, evidence: Evidence | None, random: np.random.Generator, spread: float = BESIDE_OTHERS
    ) -> Floats:
        """Returns a point [P] from an arm.

        Args:
            spread: see `arms.ALONE`.
        """
        cube, guide = self.cube, self.guide
        if arm == PRIOR:
            centres = np.array([cube.point(centre, random) for centre in self._trusted(evidence)])
            return near_one_of(cube, centres, random, guide.closeness)
        if arm == BEST and evidence is not None:
            return near_one_of(cube, evidence.best(max(3, len(evidence.values) // 20)), random, NEAR_BEST)
        if arm == MODEL and evidence is not None:
            return from_model(cube, evidence, random, spread)
        return np.ravel(cube.draw(1, random))

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
