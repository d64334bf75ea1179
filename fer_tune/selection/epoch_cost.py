"""What an epoch costs, by hyperparameter: learned from few measured configurations.

An epoch's time depends on few hyperparameters, such as the width and the batch size, and hardly on
chance. So the model takes one after another, as long as each predicts held-out configurations
clearly better. A model that shrinks many small effects needs more configurations than a probe has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fer_tune.job import Value

Floats = NDArray[np.float64]

MOST = 4
"""Hyperparameters that the model takes, at most."""

BETTER = 0.7
"""One more hyperparameter must reduce the squared error of held-out configurations to this part."""

RIDGE = 1e-3
"""Keeps effects finite of which nothing is known."""


@dataclass(frozen=True)
class Term:
    """One number that a hyperparameter contributes.

    An integer contributes its logarithm, so that time is a power of it. A float contributes whether
    it is zero: what is computed does not depend on its value. Anything else contributes whether it
    has one of its values.
    """

    name: str
    equals: Value | None = None

    def of(self, params: Mapping[str, Value]) -> float:
        """Returns the number for a configuration; 0 if it lacks the hyperparameter."""
        value = params.get(self.name)
        if value is None:
            return 0.0
        if self.equals is not None:
            return float(value == self.equals)
        if isinstance(value, float):
            return float(value != 0)
        return math.log(value) if isinstance(value, int) and value > 0 else 0.0


@dataclass(frozen=True)
class EpochCost:
    """Predicts the seconds of an epoch.

    Attributes:
        terms: of the hyperparameters that matter.
        effects: [1 + terms] the logarithm of the seconds without them, and the effect of each.
        root: [1 + terms, 1 + terms] a matrix whose product with its transpose is the covariance of
            the effects.
        left: [N] by how much the logarithm differs for each measured configuration.
    """

    terms: tuple[Term, ...]
    effects: Floats
    root: Floats
    left: Floats

    def seconds(self, params: Mapping[str, Value], left: float = 0.0) -> float:
        """Returns the seconds of an epoch.

        Args:
            left: by how much their logarithm differs from what is predicted.
        """
        return math.exp(float(_row(self.terms, params) @ self.effects) + left)

    def drawn(self, random: np.random.Generator) -> EpochCost:
        """Returns a model with effects that may be the true ones."""
        return replace(self, effects=self.effects + self.root @ random.normal(size=len(self.effects)))

    @property
    def names(self) -> list[str]:
        """The hyperparameters that matter."""
        return list(dict.fromkeys(term.name for term in self.terms))


def fit(configurations: Sequence[Mapping[str, Value]], seconds: Sequence[float]) -> EpochCost:
    """Learns what an epoch costs.

    Args:
        configurations: hyperparameters by name, at least one configuration.
        seconds: of an epoch of each; above 0.
    """
    logs = np.log(np.array(seconds))
    offered = _terms(configurations)
    chosen: list[Term] = []
    error, _, _ = _solved(configurations, chosen, logs)
    while offered and len({term.name for term in chosen}) < MOST:
        tried = {
            name: _solved(configurations, [*chosen, *terms], logs)[0]
            for name, terms in offered.items()
            if len(chosen) + len(terms) + 2 < len(logs)
        }
        best = min(tried, key=lambda name: tried[name], default=None)
        if best is None or tried[best] > BETTER * error:
            break
        error = tried[best]
        chosen += offered.pop(best)
    _, effects, inverse = _solved(configurations, chosen, logs)
    rows = np.array([_row(chosen, one) for one in configurations])
    left = logs - rows @ effects
    variance = float(left @ left) / max(1, len(left) - len(effects))
    root = np.asarray(np.linalg.cholesky(inverse * max(variance, 1e-12)), dtype=np.float64)
    return EpochCost(tuple(chosen), effects, root, left)


def _terms(configurations: Sequence[Mapping[str, Value]]) -> dict[str, list[Term]]:
    """Returns the terms of each hyperparameter that differs between configurations."""
    found: dict[str, list[Term]] = {}
    for name in sorted({name for one in configurations for name in one}):
        values = {one[name] for one in configurations if name in one}
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        terms = [Term(name)] if numbers else [Term(name, value) for value in sorted(values, key=str)[1:]]
        terms = [term for term in terms if len({term.of(one) for one in configurations}) > 1]
        if terms:
            found[name] = terms
    return found


def _row(terms: Sequence[Term], params: Mapping[str, Value]) -> Floats:
    return np.array([1.0, *(term.of(params) for term in terms)])


def _solved(
    configurations: Sequence[Mapping[str, Value]], terms: Sequence[Term], logs: Floats
) -> tuple[float, Floats, Floats]:
    """Returns the mean squared error of held-out configurations, the effects, and the inverse of
    their Gram matrix."""
    rows = np.array([_row(terms, one) for one in configurations])
    ridge = RIDGE * np.eye(rows.shape[1])
    ridge[0, 0] = 0.0
    inverse = np.linalg.inv(rows.T @ rows + ridge)
    effects: Floats = inverse @ rows.T @ logs
    leverage = np.einsum("nf,fg,ng->n", rows, inverse, rows)
    held_out = (logs - rows @ effects) / np.maximum(1e-3, 1.0 - leverage)
    return float(np.mean(held_out**2)), effects, inverse
