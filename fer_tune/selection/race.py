"""A race of configurations under several seeds: who is clearly behind, and whether one has won.

Two things make a mean uncertain: the seeds of the trainings, and which images are in validation.
Both are estimated here. The variation between seeds is pooled over the candidates.

Candidates are looked at after each round of seeds, from the second on. The level is divided by the
number of looks. So the probability of naming a sole winner among equals is at most the level
(Gutmann and Maymin 1987: for the gap between the best and the second, the two-sided level of one
comparison is enough). `benchmarks/confirm.py` measures it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_tune.selection.statistics import LEVEL, Interval, mean, t_quantile, two_sided

ALPHA = 1 - LEVEL
"""Probability with which a sole winner may be named although all candidates are equal."""

FIRST_LOOK = 2
"""Seeds of each candidate before the first look: one seed shows nothing of their variation."""


@dataclass(frozen=True)
class SeedResult:
    """One training of a candidate.

    Attributes:
        value: its objective.
        images: what each validation image adds to it, [V] (see `contributions`); None if unknown.
    """

    value: float
    images: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True)
class Spread:
    """The variance between seeds, pooled over candidates.

    Attributes:
        variance: of a value, from seed to seed; nan if no candidate has two seeds.
        freedom: degrees of freedom of the estimate.
    """

    variance: float
    freedom: int


UNKNOWN = Spread(math.nan, 0)
"""The variance between seeds where no candidate has two."""


@dataclass(frozen=True)
class Place:
    """What a race says of one candidate.

    Attributes:
        candidate: its key.
        values: by seed.
        error: standard error of the mean, over seeds and images.
        interval: of the mean; None of a single seed.
        gap: how far its mean is behind the leader's.
        gap_error: standard error of the gap; None if the variation of seeds is unknown.
        p: probability of such a gap between equals; 1 for the leader itself.
        paired: whether it was compared with the leader image by image.
        behind_after: number of seeds after which it was clearly behind; None if it is not.
    """

    candidate: int
    values: tuple[float, ...]
    mean: float
    error: float
    interval: Interval | None
    gap: float
    gap_error: float | None
    p: float
    paired: bool = True
    behind_after: int | None = None


@dataclass(frozen=True)
class Race:
    """The state of a race.

    Attributes:
        places: the candidates that have a run: those still in the race first, each by its mean.
        racing: the candidates that need more seeds.
        seeds: number of seeds that all candidates in the race have.
        winner: the candidate that is better than all others beyond chance, or None.
        spread: the variance between seeds, pooled over the candidates.
    """

    places: tuple[Place, ...]
    racing: tuple[int, ...]
    seeds: int
    winner: int | None
    spread: Spread = UNKNOWN

    @property
    def ties(self) -> tuple[int, ...]:
        """The candidates that cannot be told from the leader."""
        return tuple(place.candidate for place in self.places if place.behind_after is None)


def race(runs: Mapping[int, Sequence[SeedResult]], seeds: int, images: int, level: float = LEVEL) -> Race:
    """Returns the state of a race. It depends on the runs only, and not on their order in time.

    Args:
        runs: of each candidate, by seed: its first, its second and so on. A candidate that failed
            is left out.
        seeds: number of seeds that a candidate gets at most.
        images: number of validation images.
        level: 1 minus the probability of naming a winner among equals.
    """
    if not runs:
        return Race((), (), 0, None)
    alpha = (1 - level) / max(1, seeds - FIRST_LOOK + 1)
    racing, behind, done = list(runs), {}, 0
    for count in range(1, seeds + 1):
        decided = len(racing) < 2 <= len(runs)
        if decided or any(len(runs[key]) < count for key in racing):
            break
        done = count
        if count < FIRST_LOOK:
            continue
        some = {key: runs[key][:count] for key in runs}
        spread = pooled(some.values(), images)
        leader = max(racing, key=lambda key: (_mean(some[key]), -list(runs).index(key)))
        for key in [key for key in racing if key != leader]:
            if difference(some[leader], some[key], spread, images)[2] < alpha:
                racing.remove(key)
                behind[key] = count
    spread = pooled(runs.values(), images)
    places = _places(runs, behind, spread, images, level)
    decided = len(racing) < 2 <= len(runs)
    winner = racing[0] if decided else None
    return Race(places, () if decided or done == seeds else tuple(racing), done, winner, spread)


def pooled(candidates: Iterable[Sequence[SeedResult]], images: int) -> Spread:
    """Returns the variance between seeds. It is at least what chance makes of single images."""
    squares, freedom, floors = 0.0, 0, []
    for runs in candidates:
        values = [run.value for run in runs]
        squares += math.fsum((value - mean(values)) ** 2 for value in values) if values else 0.0
        freedom += max(0, len(values) - 1)
        if (noise := _noise(runs)) is not None:
            floors.append(noise / images)
    if not freedom:
        return UNKNOWN
    return Spread(max(squares / freedom, mean(floors) if floors else 0.0), freedom)


def difference(
    one: Sequence[SeedResult], other: Sequence[SeedResult], spread: Spread, images: int
) -> tuple[float, float, float]:
    """Returns the difference of two means, its standard error, and the p-value of no difference."""
    gap = _mean(one) - _mean(other)
    if not spread.freedom:
        return gap, math.nan, 1.0
    first, second = _of_images(one), _of_images(other)
    if first is None or second is None:
        by_image = _binomial(one, images) + _binomial(other, images)
    else:
        by_image = float(np.var(first - second, ddof=1)) / images - _twice(one, images) - _twice(other, images)
    by_seed = spread.variance * (1 / len(one) + 1 / len(other))
    error, freedom = combined(by_seed, by_image, spread.freedom)
    return gap, error, two_sided(gap / error, freedom) if error else float(gap == 0)


def difference_apart(
    one: Sequence[SeedResult], other: Sequence[SeedResult], images: tuple[int, int]
) -> tuple[float, float, float]:
    """Returns the same as `difference`, of two means on different images.

    The variance between seeds is that of both sides. If neither has two seeds, it is left out.

    Args:
        images: numbers of images of both.
    """
    gap, spread = _mean(one) - _mean(other), pooled([one, other], min(images))
    by_image = sum(max(0.0, _by_image(runs, number)) for runs, number in zip((one, other), images, strict=True))
    by_seed = spread.variance * (1 / len(one) + 1 / len(other)) if spread.freedom else 0.0
    error, freedom = combined(by_seed, by_image, spread.freedom)
    return gap, error, two_sided(gap / error, freedom) if error else float(gap == 0)


def of_mean(
    runs: Sequence[SeedResult], spread: Spread, images: int, level: float = LEVEL
) -> tuple[float, Interval | None]:
    """Returns the standard error of a mean, and its interval if the variation of seeds is known."""
    by_image = _by_image(runs, images)
    if not spread.freedom:
        return math.sqrt(max(0.0, by_image)), None
    error, freedom = combined(spread.variance / len(runs), by_image, spread.freedom)
    half = t_quantile((1 + level) / 2, freedom) * error
    return error, Interval(_mean(runs) - half, _mean(runs) + half)


def combined(by_seed: float, by_image: float, freedom: int) -> tuple[float, float]:
    """Returns the standard error of two parts, and its degrees of freedom (Satterthwaite).

    The part of the images has thousands of them.
    """
    total = by_seed + max(0.0, by_image)
    return math.sqrt(total), freedom * (total / by_seed) ** 2 if by_seed else math.inf


def _places(
    runs: Mapping[int, Sequence[SeedResult]], behind: Mapping[int, int], spread: Spread, images: int, level: float
) -> tuple[Place, ...]:
    known = {key: some for key, some in runs.items() if some}
    order = sorted(known, key=lambda key: (key in behind, -_mean(known[key])))
    places = []
    for key in order:
        error, interval = of_mean(known[key], spread, images, level)
        gap, gap_error, p = difference(known[order[0]], known[key], spread, images)
        of_gap = 0.0 if key == order[0] else gap_error if spread.freedom else None
        values = tuple(run.value for run in known[key])
        p = 1.0 if key == order[0] else p
        paired = all(run.images is not None for run in (*known[order[0]], *known[key]))
        places.append(Place(key, values, mean(values), error, interval, gap, of_gap, p, paired, behind.get(key)))
    return tuple(places)


def _mean(runs: Sequence[SeedResult]) -> float:
    return mean([run.value for run in runs])


def _by_image(runs: Sequence[SeedResult], images: int) -> float:
    """Returns the variance that the images give a mean, beyond what the seeds give it."""
    of_images = _of_images(runs)
    if of_images is None:
        return _binomial(runs, images)
    return float(np.var(of_images, ddof=1)) / images - _twice(runs, images)


def _binomial(runs: Sequence[SeedResult], images: int) -> float:
    value = _mean(runs)
    return max(0.0, value * (1 - value)) / images


def _of_images(runs: Sequence[SeedResult]) -> NDArray[np.float64] | None:
    """Returns what each image adds, as a mean over seeds."""
    some = [run.images for run in runs if run.images is not None]
    return np.mean(np.asarray(some, np.float64), axis=0) if len(some) == len(runs) else None


def _noise(runs: Sequence[SeedResult]) -> float | None:
    """Returns the variance of an image's contribution from seed to seed, as a mean over images."""
    some = [run.images for run in runs if run.images is not None]
    return float(np.var(np.asarray(some, np.float64), axis=0, ddof=1).mean()) if len(some) > 1 else None


def _twice(runs: Sequence[SeedResult], images: int) -> float:
    """Returns the part of the variance that the seeds and the images would both count."""
    return (_noise(runs) or 0.0) / (len(runs) * images)
