"""Tests of two models on the same images, which know far more than two separate accuracies.

Two models err on many of the same images. Only images on which they differ say which is better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tune.selection.statistics import two_sided

MOST_EXACT = 20_000
"""Disagreements up to which McNemar's test is computed exactly: milliseconds. With more, the
normal approximation with continuity correction is as good."""

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Paired:
    """The difference of two models on the same images.

    Attributes:
        difference: value of the first minus value of the second.
        error: standard error of the difference.
        p: probability of a difference as large, if the models are equally good.
        disagreements: number of images on which the models differ.
    """

    difference: float
    error: float
    p: float
    disagreements: int


def mcnemar(first_only: int, second_only: int) -> float:
    """Returns the two-sided p-value of McNemar's test.

    Args:
        first_only, second_only: images that only the first, or only the second model has right.
    """
    total, fewer = first_only + second_only, min(first_only, second_only)
    if total > MOST_EXACT:
        statistic = max(0, abs(first_only - second_only) - 1) / math.sqrt(total)
        return two_sided(statistic)
    tail, term = 0, 1
    for count in range(fewer + 1):
        tail += term
        term = term * (total - count) // (count + 1)  # the next binomial coefficient, which is exact
    return min(1.0, 2 * tail / (1 << total))


def compare(one: Floats, other: Floats, gap: float | None = None) -> Paired:
    """Compares two models by what each image adds to their values, [V] each.

    Right and wrong images, 1 and 0, are compared by McNemar's test. Other contributions (see
    `contributions`) are compared by the normal approximation of their differences.

    Args:
        gap: the difference of the values, where they are means over epochs. The contributions are
            those of one epoch and only give its standard error. None if the values are the sums of
            the contributions.
    """
    differences = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    images = len(differences)
    error = float(differences.std(ddof=1) / math.sqrt(images)) if images > 1 else 0.0
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    difference = float(differences.mean()) if gap is None else gap
    if gap is None and set(np.unique(differences)) <= {-1.0, 0.0, 1.0}:
        p = mcnemar(gained, lost)
    else:
        p = two_sided(difference / error) if error else float(difference == 0)
    return Paired(difference, error, p, gained + lost)
