"""A trainer that trains nothing: models of collected curves give the curve of any configuration.

A configuration's true curve is what the models predict. A training has that curve and noise, as
measured between seeds. The same configuration and seed give the same numbers again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from benchmarks.search.curves import MEASURES, Curve, Curves, Floats
from benchmarks.search.features import Features
from benchmarks.search.gaussian import gaussian
from benchmarks.search.lanes import slowness
from benchmarks.search.noise import Noise, measured, roughness
from benchmarks.search.trees import boosted_trees, extra_trees
from fer_tune.errors import DataError
from fer_tune.job import Value
from fer_tune.sweep.space import Space

VERSION = 1
"""Counts up when the models change, so that kept ones are fitted again."""

COMPONENTS = 8
"""Principal components of the curves that the models predict."""

FEWEST = 20
"""Whole curves without which no model is fitted."""

BELIEVED = 0.7
"""Rank correlation below which a family's simulation is not believed."""

SHAPE = MEASURES[:4]
"""The measures that have a curve. Seconds are one number for each configuration."""

ACCURACY = MEASURES.index("val_accuracy")
SECONDS = MEASURES.index("seconds")


class Model(Protocol):
    """What was fitted to targets [rows, outputs]."""

    def predict(self, rows: Floats, /) -> Floats:
        """Returns the outputs [rows, outputs]."""
        ...


GROWERS: dict[str, Callable[[Floats, Floats], Model]] = {
    "gaussian process": gaussian,
    "boosted trees": boosted_trees,
}
"""The kinds of models. Cross-validation chooses one for each family."""


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
        self._basis = Basis(np.stack([curve.rows[:, :4] for curve in whole]))
        rows = self.features.rows([curve.params for curve in whole])
        scores = self._basis.scores
        self.quality = {name: _quality(whole, rows, self._basis, name) for name in _grown(grower)}
        self.grower = max(self.quality, key=lambda name: self.quality[name]["rank_correlation"])
        self._curve: Model = GROWERS[self.grower](rows, scores)
        shares = [_share(curves, curve) for curve in whole]
        facts = [
            [np.log(max(1e-4, np.median(curve.rows[:, SECONDS]) / share)), np.log(roughness(curve.rows))]
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


class Basis:
    """The principal components of curves [trainings, epochs, measures].

    Attributes:
        scores: of the given curves, [trainings, components].
    """

    def __init__(self, curves: Floats) -> None:
        flat = curves.reshape(len(curves), -1)
        self._shape = curves.shape[1:]
        self._mean = flat.mean(axis=0)
        # Validation accuracy is what is compared, so it gets half of the weight.
        spread = np.maximum(curves.std(axis=(0, 1)), 1e-6) * np.array([1.0, 3.0, 3.0, 3.0])
        self._scale = np.broadcast_to(spread, self._shape).reshape(-1)
        centred = (flat - self._mean) / self._scale
        _, _, right = np.linalg.svd(centred, full_matrices=False)
        self._components = right[:COMPONENTS]
        self.scores = centred @ self._components.T

    def curves(self, scores: Floats) -> Floats:
        """Returns curves [trainings, epochs, measures] for scores."""
        flat: Floats = scores @ self._components * self._scale + self._mean
        return flat.reshape(len(scores), *self._shape)


def _grown(grower: str | None) -> list[str]:
    return list(GROWERS) if grower is None else [grower]


def _quality(whole: list[Curve], rows: Floats, basis: Basis, grower: str, folds: int = 5) -> dict[str, Any]:
    """Returns how well held-out configurations are predicted.

    The repeats of the start configuration are always in the training part: they are one
    configuration.
    """
    fold = np.array([-1 if curve.repeat else index % folds for index, curve in enumerate(whole)])
    real = np.stack([curve.rows[:, ACCURACY] for curve in whole])
    held = np.full_like(real, np.nan)
    for part in range(folds):
        out = fold == part
        model = GROWERS[grower](rows[~out], basis.scores[~out])
        held[out] = basis.curves(model.predict(rows[out]))[:, :, ACCURACY]
    of = fold >= 0
    real, held = real[of], held[of]
    last = max(1, real.shape[1] // 10)
    final, predicted = real[:, -last:].mean(axis=1), held[:, -last:].mean(axis=1)
    best = final >= np.quantile(final, 0.75)
    stages = sorted({max(1, round(real.shape[1] * share)) for share in (0.1, 0.25, 0.5)})
    return {
        "configurations": int(of.sum()),
        "rank_correlation": _rank(final, predicted),
        "rank_correlation_best_quarter": _rank(final[best], predicted[best]),
        "median_error_points": round(100 * float(np.median(np.abs(final - predicted))), 2),
        "best_real": round(float(final.max()), 4),
        "best_predicted": round(float(predicted.max()), 4),
        # What an early epoch says of the last one decides what pruning can gain.
        "early_rank_correlation": {
            str(stage): [_rank(real[:, stage - 1], final), _rank(held[:, stage - 1], predicted)] for stage in stages
        },
    }


def _rank(one: Floats, other: Floats) -> float:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return round(float(spearmanr(one, other).statistic), 3)


def _share(curves: Curves, curve: Curve) -> float:
    """Returns how many times longer than alone an epoch took while the curve was measured."""
    return slowness(curves.family, float(curves.chunks[curve.chunk].get("concurrency", 1.0)))


def _hash(params: Mapping[str, Value]) -> list[int]:
    digest = hashlib.sha256(json.dumps(params, sort_keys=True).encode()).digest()
    return [int.from_bytes(digest[index : index + 4], "big") for index in (0, 4)]
