"""Gaussian processes that learn how much each column matters. One row takes a tenth of a ms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from benchmarks.search.curves import Floats

STEPS = 40
"""Steps of the search for a process's length scales, at most."""

ALONE = 3
"""The first outputs have length scales of their own. The others share theirs."""

LONG, WIDTH = np.log(7.0), 0.4
"""What is taken to be likely for the logarithm of a length scale, in standard deviations of its
column. With few rows, weaker assumptions fit noise."""


@dataclass(frozen=True)
class Process:
    """A Gaussian process of several outputs with a squared-exponential kernel.

    Attributes:
        rows: the given rows, divided by the length scales.
        scales: length scales, in the units of the columns.
        weights: [given rows, outputs].
        signal: variance of the kernel.
        mean, spread: [outputs], of the targets.
    """

    rows: Floats
    weights: Floats
    scales: Floats
    signal: float
    mean: Floats
    spread: Floats

    def predict(self, rows: Floats) -> Floats:
        """Returns the outputs [rows, outputs]."""
        near = self.signal * np.exp(-0.5 * _squares(rows / self.scales, self.rows))
        found: Floats = self.mean + self.spread * (near @ self.weights)
        return found


@dataclass(frozen=True)
class Processes:
    """Several processes whose outputs are put beside one another."""

    parts: tuple[Process, ...]

    def predict(self, rows: Floats) -> Floats:
        """Returns the outputs [rows, outputs]."""
        return np.concatenate([part.predict(rows) for part in self.parts], axis=1)


def gaussian(rows: Floats, targets: Floats) -> Processes:
    """Returns processes that are fitted to targets [rows, outputs]."""
    outputs = targets.shape[1]
    groups = [[index] for index in range(min(ALONE, outputs))]
    groups += [list(range(ALONE, outputs))] if outputs > ALONE else []
    return Processes(tuple(_fit(rows, targets[:, group]) for group in groups))


def _fit(rows: Floats, targets: Floats) -> Process:
    mean, spread = targets.mean(axis=0), np.maximum(targets.std(axis=0), 1e-9)
    units = np.maximum(rows.std(axis=0), 0.05)
    given = rows
    rows = rows / units
    wanted = (targets - mean) / spread
    columns = rows.shape[1]
    start = np.concatenate([np.full(columns, LONG), [0.0, np.log(0.3)]])
    bounds = [(np.log(0.05), np.log(50.0))] * columns + [(np.log(0.05), np.log(20.0)), (np.log(1e-3), np.log(3.0))]
    found = minimize(
        _loss, start, args=(rows, wanted), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}
    )
    scales, signal, noise = np.exp(found.x[:-2]), float(np.exp(found.x[-2])), float(np.exp(found.x[-1]))
    near = signal * np.exp(-0.5 * _squares(rows / scales, rows / scales))
    factor = cho_factor(near + noise * np.eye(len(rows)), lower=True)
    return Process(given / (scales * units), cho_solve(factor, wanted), scales * units, signal, mean, spread)


def _loss(logs: Floats, rows: Floats, wanted: Floats) -> tuple[float, Floats]:
    """Returns the negative log likelihood, and its gradient by the logarithms of scales, signal
    and noise. See `LONG` for what is added."""
    scales, signal, noise = np.exp(logs[:-2]), np.exp(logs[-2]), np.exp(logs[-1])
    scaled = rows / scales
    near = signal * np.exp(-0.5 * _squares(scaled, scaled))
    factor = cho_factor(near + noise * np.eye(len(rows)), lower=True)
    weights, inverse = cho_solve(factor, wanted), cho_solve(factor, np.eye(len(rows)))
    outputs = wanted.shape[1]
    likelihood = 0.5 * float((wanted * weights).sum()) + outputs * float(np.log(np.diag(factor[0])).sum())
    slope = 0.5 * (outputs * inverse - weights @ weights.T)  # of the loss, by the kernel's matrix
    by_near = slope * near
    # The sum of by_near[a, b] * (x[a] - x[b])**2, for each column, without a matrix for each.
    apart = 2 * (by_near.sum(axis=1) @ scaled**2 - np.einsum("aj,ab,bj->j", scaled, by_near, scaled, optimize=True))
    prior = (logs[:-2] - LONG) / WIDTH**2
    gradient = np.concatenate([apart + prior, [by_near.sum(), noise * np.trace(slope)]])
    penalty = 0.5 * float(((logs[:-2] - LONG) ** 2).sum()) / WIDTH**2
    return likelihood + penalty, gradient


def _squares(one: Floats, other: Floats) -> Floats:
    """Returns the squared distances [rows of one, rows of other]."""
    apart = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    return np.asarray(np.maximum(apart, 0.0))
