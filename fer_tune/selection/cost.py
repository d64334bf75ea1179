"""What a search will cost: it is played many times, with the measured pace of trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PLAYS = 60
"""How often a search is played. The quantiles of the plays are the range of the forecast."""

TRIALS = 20_000
"""About so many trials are played in all. A long search is played fewer times."""

LOW, HIGH = 0.1, 0.9
"""Quantiles of the range."""

SCATTER = 0.6
"""How much a value at a rung differs from the final one, in standard deviations of the latter.

It decides only which trials are promoted, and hardly how many."""


@dataclass(frozen=True)
class TrialPace:
    """What trials of a sweep cost, as measured.

    Attributes:
        epochs: device-seconds of an epoch, one for each measured trial.
        overhead: device-seconds of an attempt beside its epochs.
        lengths: the trained part of the schedule of each measured trial; none if nothing is known.
        source: where this was measured, in words.
    """

    epochs: tuple[float, ...]
    overhead: float = 0.0
    lengths: tuple[float, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Shape:
    """The search whose cost is forecast.

    Attributes:
        schedule: epochs of a trial.
        rungs: epochs at which trials pause; none if none do.
        factor: one in so many trials of a rung continues.
        trials: at most so many trials.
        capacity: at most so many device-seconds.
    """

    schedule: int
    rungs: tuple[int, ...]
    factor: int
    trials: int
    capacity: float = math.inf


@dataclass(frozen=True)
class ForecastRange:
    """A number with its range."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> ForecastRange:
        """Returns the median of values, and the quantiles of the range."""
        low, middle, high = np.quantile(np.array(values), (LOW, 0.5, HIGH))
        return cls(float(low), float(middle), float(high))

    def holds(self, value: float) -> bool:
        """Returns whether a value is in the range."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Forecast:
    """The forecast of a search.

    Attributes:
        device_seconds: of all devices together.
        started: how many trials start.
        reached: how many of them reach each rung, and the end of the schedule, by epoch.
    """

    device_seconds: ForecastRange
    started: ForecastRange
    reached: dict[int, ForecastRange]


def forecast(shape: Shape, pace: TrialPace, seed: int = 0) -> Forecast:
    """Returns what a search will cost. Trials are like the measured ones."""
    random = np.random.default_rng(seed)
    first = min((shape.rungs[:1] or (shape.schedule,))[0] * float(np.mean(pace.epochs)) + pace.overhead, shape.capacity)
    expected = min(shape.trials, shape.capacity / first if first else shape.trials)
    plays = [_play(shape, pace, random) for _ in range(max(5, min(PLAYS, int(TRIALS / max(1.0, expected)))))]
    ends = [*shape.rungs, shape.schedule]
    return Forecast(
        device_seconds=ForecastRange.of([seconds for seconds, _, _ in plays]),
        started=ForecastRange.of([started for _, started, _ in plays]),
        reached={end: ForecastRange.of([reached[place] for _, _, reached in plays]) for place, end in enumerate(ends)},
    )


def _play(shape: Shape, pace: TrialPace, random: np.random.Generator) -> tuple[float, int, list[int]]:
    """Returns the seconds, the started trials, and how many reached each rung and the end."""
    measured = random.choice(np.array(pace.epochs), len(pace.epochs))  # few measurements say less than many
    ends = [*shape.rungs, shape.schedule]
    at: list[list[tuple[float, float, float]]] = [[] for _ in ends]  # value at the rung, worth and pace of a trial
    promoted = [0 for _ in ends]
    seconds, started = 0.0, 0
    while True:
        place = next((k for k in reversed(range(len(ends) - 1)) if len(at[k]) // shape.factor > promoted[k]), None)
        if place is None and started == shape.trials:
            place = next((k for k in reversed(range(len(ends) - 1)) if at[k] and not promoted[k]), None)
            if place is None:
                break
        if place is None:
            worth, each, begin, end = random.normal(), float(random.choice(measured)), 0, 0
            epochs = float(ends[0])
            if not shape.rungs and pace.lengths:
                epochs *= float(random.choice(np.array(pace.lengths)))
        else:
            best = sorted(at[place], reverse=True)[promoted[place]]
            worth, each, begin, end = best[1], best[2], ends[place], place + 1
            epochs = float(ends[end] - begin)
        cost = pace.overhead + epochs * each
        if seconds + cost > shape.capacity:
            seconds = shape.capacity
            break
        seconds += cost
        if place is None:
            started += 1
        else:
            promoted[place] += 1
        at[end].append((worth + SCATTER * random.normal(), worth, each))
    return seconds, started, [len(found) for found in at]
