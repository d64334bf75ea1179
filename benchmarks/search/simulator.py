"""A trainer that trains nothing: models of collected curves give the curve of any configuration.

A configuration's true curve is what the models predict. A training has that curve and noise, as
measured between seeds. The same configuration and seed give the same numbers again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.search.curves import MEASURES, Curve, Curves, Floats
from benchmarks.search.features import Features
from benchmarks.search.fitting import ACCURACY, GROWERS, Basis, Model, qualities
from benchmarks.search.lanes import slowness
from benchmarks.search.noise import Noise, measured, roughness
from benchmarks.search.trees import boosted_trees, extra_trees
from fer_tune.errors import DataError
from fer_tune.job import Value
from fer_tune.sweep.space import Space

VERSION = 3
"""Counts up when the models change, so that kept ones are fitted again."""

FEWEST = 20
"""Whole curves without which no model is fitted."""

ABOVE = 0.005
"""How far a predicted accuracy may be above the best that was measured: half a point.

Models add up what single hyperparameters gain, and so predict configurations that are several
points better than any that was trained. Weeks of ablations found none.
"""

BELIEVED = 0.7
"""Rank correlation below which a family's simulation is not believed."""

SHAPE = MEASURES[:4]
"""The measures that have a curve. Seconds are one number for each configuration."""

SECONDS = MEASURES.index("seconds")


@dataclass(frozen=True)
class Training:
    """One simulated training of a whole schedule.

    Attributes:
        rows: [epochs, measures] as an `EpochRow` has them. The seconds are those of a device that
            trains nothing else.
        overhead: seconds before the first epoch.
        diverges: the epoch whose loss is not finite, or None.
    """

    rows: Floats
    overhead: float
    diverges: int | None


class Simulator:
    """The models of one family.

    Args:
        curves: of the family.
        space: the search space from which the curves were drawn.
        grower: the kind of model: one of `GROWERS`, or None for the best by cross-validation.

    Attributes:
        quality: what cross-validation says about the models, by name.

    Raises:
        DataError: there are too few whole curves.
    """

    def __init__(self, curves: Curves, space: Space, grower: str | None = None) -> None:
        self.family, self.epochs, self.count = curves.family, curves.epochs, len(curves)
        whole = curves.whole()
        if len(whole) < FEWEST:
            raise DataError(
                f"{curves.family}: {len(whole)} whole curves are too few for a simulation.",
                f"Collect at least {FEWEST}: python -m benchmarks.search.collect --family {curves.family}.",
            )
        with threadpool_limits(1):  # threads of small matrices wait for one another
            self._fit(curves, whole, space, grower)

    def _fit(self, curves: Curves, whole: list[Curve], space: Space, grower: str | None) -> None:
        self.noise: Noise = measured(curves)
        self.features = Features(space)
        self.ceiling = _best_measured(whole)
        self._basis = Basis(np.stack([curve.rows[:, :4] for curve in whole]))
        rows = self.features.rows([curve.params for curve in whole])
        scores = self._basis.scores
        free = [curves.kind(curve) in ("random", "search") for curve in whole]
        growers = list(GROWERS) if grower is None else [grower]
        self.quality = qualities(whole, rows, self._basis, growers, free)
        self.grower = max(self.quality, key=lambda name: self.quality[name]["rank_correlation"])
        self._curve: Model = GROWERS[self.grower](rows, scores)
        shares = [_share(curves, curve) for curve in whole]
        facts = [
            [np.log(max(1e-4, np.quantile(curve.rows[:, SECONDS], 0.25) / share)), np.log(roughness(curve.rows))]
            for curve, share in zip(whole, shares, strict=True)
        ]
        self._facts: Model = boosted_trees(rows, np.array(facts))
        self.overhead = float(np.mean([curve.overhead / share for curve, share in zip(whole, shares, strict=True)]))
        self._diverged = [len(curve.rows) + 1 for curve in curves.diverged()]
        self._breaks = self._fit_divergence(curves)
        self._known: dict[str, tuple[Floats, float, float]] = {}

    # what is asked for ----------------------------------------------------------------------------------

    def train(self, params: Mapping[str, Value], seed: int) -> Training:
        """Returns the whole training of a configuration under a seed."""
        shape, seconds, rough = self._predicted(params)
        random = np.random.default_rng([*_hash(params), seed % 2**32])
        rows = shape + self.noise.draw(self.epochs, rough / self.noise.roughness, random)
        rows[:, ACCURACY] = np.clip(rows[:, ACCURACY], 0.0, 1.0)
        rows[:, SECONDS] = seconds
        return Training(rows, self.overhead, self._divergence(params, random))

    def true_value(self, params: Mapping[str, Value]) -> float:
        """Returns the best accuracy of the whole schedule, without noise."""
        shape, _, _ = self._predicted(params)
        return float(shape[:, ACCURACY].max())

    @cached_property
    def record(self) -> dict[str, Any]:
        """What a result says about the simulation that it comes from."""
        best = self.quality[self.grower]
        return {
            "family": self.family,
            "curves": self.count,
            "epochs": self.epochs,
            "model": self.grower,
            "quality": best,
            "quality_of_others": {name: found for name, found in self.quality.items() if name != self.grower},
            "believed": bool(best["rank_correlation"] >= BELIEVED),
            "noise": self.noise.as_dict(),
            "best_measured": round(self.ceiling, 4),
            "most_above_it": ABOVE,
            "overhead_seconds": round(self.overhead, 3),
        }

    # within -----------------------------------------------------------------------------------------------

    def _predicted(self, params: Mapping[str, Value]) -> tuple[Floats, float, float]:
        """Returns the true curve, the seconds of an epoch and the roughness of a configuration."""
        key = json.dumps(params, sort_keys=True)
        if key not in self._known:
            row = self.features.rows([params])
            shape = np.zeros((self.epochs, len(MEASURES)))
            shape[:, :4] = self._basis.curves(self._curve.predict(row))[0]
            shape[:, ACCURACY] *= bounded(float(shape[:, ACCURACY].max()), self.ceiling)
            seconds, rough = np.exp(self._facts.predict(row)[0])
            self._known[key] = (shape, float(seconds), float(rough))
        return self._known[key]

    def _fit_divergence(self, curves: Curves) -> Model | None:
        if not self._diverged:
            return None
        both = curves.whole(repeat=False) + curves.diverged()
        broke = np.array([[float(curve.state == "diverged")] for curve in both])
        return extra_trees(self.features.rows([curve.params for curve in both]), broke)

    def _divergence(self, params: Mapping[str, Value], random: np.random.Generator) -> int | None:
        if self._breaks is None:
            return None
        chance = float(self._breaks.predict(self.features.rows([params]))[0, 0])
        return int(random.choice(self._diverged)) if random.random() < chance else None


def bounded(best: float, ceiling: float) -> float:
    """Returns the factor that keeps a predicted best accuracy less than `ABOVE` over a ceiling."""
    if best <= ceiling:
        return 1.0
    return float(ceiling + ABOVE * (1 - np.exp((ceiling - best) / ABOVE))) / best


def _best_measured(whole: list[Curve]) -> float:
    """Returns the best accuracy that any configuration reached. Of the repeated one it is the mean
    over its seeds."""
    repeats = [float(curve.rows[:, ACCURACY].max()) for curve in whole if curve.repeat]
    others = [float(curve.rows[:, ACCURACY].max()) for curve in whole if not curve.repeat]
    return max([0.0, *others, *([float(np.mean(repeats))] if repeats else [])])


def _share(curves: Curves, curve: Curve) -> float:
    """Returns how many times longer than alone an epoch took while the curve was measured."""
    return slowness(curves.family, float(curves.chunks[curve.chunk].get("concurrency", 1.0)))


def _hash(params: Mapping[str, Value]) -> list[int]:
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).digest()
    return [int.from_bytes(digest[index : index + 4], "big") for index in (0, 4)]
