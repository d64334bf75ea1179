"""Standard errors and intervals of shares, such as accuracies, and of means over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

LEVEL = 0.95
"""Probability with which an interval covers the true value, unless a caller says otherwise."""


@dataclass(frozen=True)
class Interval:
    """A range that covers the true value with a stated probability."""

    low: float
    high: float


def standard_error(share: float | None, images: int) -> float | None:
    """Returns sqrt(p (1 - p) / n) of a share of n images, or None where either is unknown."""
    return math.sqrt(max(0.0, share * (1 - share)) / images) if share is not None and images else None


def error_of_difference(one: float | None, other: float | None) -> float | None:
    """Returns the standard error of the difference of two independent values.

    It is None where one of the errors is unknown.

    Two accuracies on the same images are not independent. Then the difference is known better than
    this says: `selection.paired` compares them image by image.
    """
    return None if one is None or other is None else math.hypot(one, other)


def wilson(right: float, images: float, level: float = LEVEL) -> Interval:
    """Returns Wilson's interval of a share: it is sound for few images, and near 0 and 1.

    Args:
        right: how many of the images count.
    """
    if not images:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, square = right / images, z * z / images
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / images + square / (4 * images)) / (1 + square)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def mean(values: Sequence[float]) -> float:
    """Returns the mean of at least one value."""
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float | None:
    """Returns the sample standard deviation, or None of fewer than two values."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Returns Student's interval of the mean of values, or None of fewer than two values."""
    spread = deviation(values)
    if spread is None:
        return None
    half = t_quantile((1 + level) / 2, len(values) - 1) * spread / math.sqrt(len(values))
    return Interval(mean(values) - half, mean(values) + half)


def t_quantile(share: float, freedom: float) -> float:
    """Returns the quantile of Student's distribution with so many degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))


def two_sided(statistic: float, freedom: float = math.inf) -> float:
    """Returns the probability of a statistic as far from 0, if there is no difference.

    Args:
        freedom: degrees of freedom of Student's distribution; infinite for the normal one.
    """
    if math.isinf(freedom):
        return math.erfc(abs(statistic) / math.sqrt(2))
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(statistic)))
