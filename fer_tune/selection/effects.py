"""A model of how hyperparameters affect the objective: the sum of one effect for each of them.

It is a Bayesian linear regression on the features of `study.configurations`. Each hyperparameter
has a variance of its own, which is learned. So the model finds early which of many hyperparameters
matter, and it knows how sure it is. It needs milliseconds for hundreds of trials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDS = 12
"""Rounds in which the variances are learned."""

SMALLEST = 1e-4
"""The smallest variance of an effect, as a part of the objective's."""


@dataclass(frozen=True)
class EffectModel:
    """What was learned.

    Attributes:
        mean: [F] the effect of each feature.
        root: [F, F] a matrix whose product with its transpose is the covariance of the effects.
        importance: [P] the variance that each hyperparameter explains, which sums to at most 1.
    """

    mean: Floats
    root: Floats
    importance: Floats
    centre: float
    scale: float

    def predict(self, rows: Floats) -> tuple[Floats, Floats]:
        """Returns the expected objective of configurations, and its standard deviation.

        Args:
            rows: [N, F] the features of the configurations.
        """
        return self.centre + self.scale * rows @ self.mean, self.scale * np.linalg.norm(rows @ self.root, axis=1)

    def draw(self, random: np.random.Generator, spread: float) -> Floats:
        """Returns effects [F] that may be the true ones, drawn from what the model holds possible.

        Args:
            spread: the part of their spread by which they differ from the expected ones.
        """
        drawn: Floats = self.mean + spread * (self.root @ random.normal(size=self.root.shape[1]))
        return drawn


def fit(rows: Floats, values: Floats, noise: Floats, groups: NDArray[np.int64]) -> EffectModel:
    """Learns the effects.

    Args:
        rows: [N, F] the features of configurations.
        values: [N] the objective of each.
        noise: [N] the relative variance of each value; 1 for the most certain ones.
        groups: [F] the hyperparameter of each feature.
    """
    centre, scale = float(np.median(values)), max(float(np.std(values)), 1e-9)
    target = (values - centre) / scale
    count = int(groups.max()) + 1
    size = np.bincount(groups, minlength=count)
    variance = np.full(count, 1.0 / count)
    level = 0.3
    weights = 1.0 / noise
    design = rows * np.sqrt(weights)[:, None]
    gram, moment = design.T @ design, rows.T @ (weights * target)
    for _ in range(ROUNDS):
        precision = np.diag(1.0 / variance[groups]) + gram / level
        covariance = np.linalg.inv(precision)
        mean = covariance @ moment / level
        spread = np.bincount(groups, mean**2 + np.diag(covariance), minlength=count) / size
        variance = np.maximum(spread, SMALLEST)
        left = target - rows @ mean
        fitted = float(np.sum(covariance * gram))
        level = max(0.02, float(np.sum(weights * left**2) + fitted) / float(np.sum(weights * noise)))
    root = np.asarray(np.linalg.cholesky(covariance + 1e-10 * np.eye(len(mean))), dtype=np.float64)
    explained = np.array([np.var(rows[:, groups == place] @ mean[groups == place]) for place in range(count)])
    return EffectModel(
        np.asarray(mean, dtype=np.float64),
        root,
        np.asarray(explained / max(1.0, float(explained.sum())), dtype=np.float64),
        centre,
        scale,
    )
