"""The models of curves, and how well they predict configurations that they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.stats import spearmanr

from benchmarks.search.curves import MEASURES, Curve, Floats
from benchmarks.search.gaussian import gaussian
from benchmarks.search.trees import boosted_trees

COMPONENTS = 8
"""Principal components of the curves that the models predict."""

MEAN = "mean of both"

ACCURACY = MEASURES.index("val_accuracy")

FOLDS = 10


class Model(Protocol):
    """What was fitted to targets [rows, outputs]."""

    def predict(self, rows: Floats, /) -> Floats:
        """Returns the outputs [rows, outputs]."""
        ...


@dataclass(frozen=True)
class Mean:
    """The mean of two models."""

    one: Model
    other: Model

    def predict(self, rows: Floats) -> Floats:
        """Returns the outputs [rows, outputs]."""
        return 0.5 * (self.one.predict(rows) + self.other.predict(rows))


GROWERS: dict[str, Callable[[Floats, Floats], Model]] = {
    "gaussian process": gaussian,
    "boosted trees": boosted_trees,
    MEAN: lambda rows, targets: Mean(gaussian(rows, targets), boosted_trees(rows, targets)),
}
"""The kinds of models. Cross-validation chooses one for each family."""


class Basis:
    """The principal components of curves [trainings, epochs, measures].

    Attributes:
        epochs: of a curve.
        scores: of the given curves, [trainings, components].
    """

    def __init__(self, curves: Floats) -> None:
        flat = curves.reshape(len(curves), -1)
        self._shape = curves.shape[1:]
        self.epochs = curves.shape[1]
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


def qualities(
    whole: Sequence[Curve],
    rows: Floats,
    basis: Basis,
    growers: Sequence[str],
    free: Sequence[bool],
    *,
    folds: int = FOLDS,
) -> dict[str, dict[str, Any]]:
    """Returns how well each kind of model predicts held-out configurations, by its name.

    Args:
        rows: the features of the curves.
        free: which of them are held out in turn. The others are always in the training part, such
            as the repeats of the start configuration.
    """
    fold = np.array([index % folds if held else -1 for index, held in enumerate(free)])
    real = np.stack([curve.rows[:, ACCURACY] for curve in whole])
    simple = [name for name in GROWERS if name != MEAN and (name in growers or MEAN in growers)]
    held = {name: _held_out(rows, basis, fold, GROWERS[name]) for name in simple}
    if MEAN in growers:
        held[MEAN] = np.mean(list(held.values()), axis=0)
    of = fold >= 0
    return {name: quality(real[of], held[name][of]) for name in growers}


def _held_out(rows: Floats, basis: Basis, fold: Any, grow: Callable[[Floats, Floats], Model]) -> Floats:
    """Returns each curve's accuracy as a model predicts it that was fitted without its fold."""
    held = np.full((len(rows), basis.epochs), np.nan)
    for part in range(int(fold.max()) + 1):
        out = fold == part
        if out.any():
            model = grow(rows[~out], basis.scores[~out])
            held[out] = basis.curves(model.predict(rows[out]))[:, :, ACCURACY]
    return held


def quality(real: Floats, held: Floats) -> dict[str, Any]:
    """Returns how alike real and predicted accuracies are: both [configurations, epochs].

    `early_rank_correlation` has, for early epochs, how well their accuracy ranks the final one: in
    the real curves, and in the predicted ones. It decides what pruning can gain.
    """
    last = max(1, real.shape[1] // 10)
    final, predicted = real[:, -last:].mean(axis=1), held[:, -last:].mean(axis=1)
    best = final >= np.quantile(final, 0.75)
    stages = sorted({max(1, round(real.shape[1] * share)) for share in (0.1, 0.25, 0.5)})
    return {
        "configurations": len(real),
        "rank_correlation": _rank(final, predicted),
        "rank_correlation_best_quarter": _rank(final[best], predicted[best]),
        "median_error_points": round(100 * float(np.median(np.abs(final - predicted))), 2),
        "best_real": round(float(final.max()), 4),
        "best_predicted": round(float(predicted.max()), 4),
        "early_rank_correlation": {
            str(stage): [_rank(real[:, stage - 1], final), _rank(held[:, stage - 1], predicted)] for stage in stages
        },
    }


def _rank(one: Floats, other: Floats) -> float:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return round(float(spearmanr(one, other).statistic), 3)
