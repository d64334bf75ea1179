"""Axes: they place values between 0 and 1, and choose the ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Tick = tuple[float, str]
"""Place between 0 and 1, and label."""


class Axis(Protocol):
    """A scale from the values of a quantity to places between 0 and 1."""

    def place(self, value: Any) -> float:
        """Returns where `value` is; values outside are at the border, and nan stays nan."""

    def ticks(self, count: int) -> list[Tick]:
        """Returns about `count` round values with their places."""


@dataclass(frozen=True)
class Linear:
    """Numbers from `low` to `high`; `whole` allows only whole numbers as ticks."""

    low: float
    high: float
    whole: bool = False

    @classmethod
    def over(cls, values: Iterable[float], whole: bool = False, margin: float = 0.04) -> Linear:
        """Returns an axis over the finite values, with a margin; from 0 to 1 if there are none."""
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            return cls(0.0, 1.0, whole)
        low, high = min(finite), max(finite)
        if high == low:
            return cls(low - 0.5, high + 0.5, whole)
        return cls(low - (high - low) * margin, high + (high - low) * margin, whole)

    def place(self, value: float) -> float:
        """Returns where `value` is."""
        return _clamped((value - self.low) / (self.high - self.low))

    def ticks(self, count: int) -> list[Tick]:
        """Returns multiples of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * nice for nice in (1, 2, 5, 10) if rough <= power * nice * 1.4)
        step = max(1.0, step) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(self.place(step * number), _short(step * number)) for number in range(first, last + 1)]


@dataclass(frozen=True)
class Log:
    """Positive numbers from `low` to `high` on a logarithmic scale."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Returns where `value` is."""
        if not value > 0:
            return math.nan
        return _clamped(math.log(value / self.low) / math.log(self.high / self.low))

    def ticks(self, count: int) -> list[Tick]:
        """Returns powers of ten, with parts of them where these are few."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for parts in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
            values = [part * 10.0**power for power in powers for part in parts]
            inside = [value for value in values if self.low <= value <= self.high]
            if len(inside) > 1:
                break
        return [(self.place(value), f"{value:.3g}") for value in inside[:: max(1, math.ceil(len(inside) / count))]]


@dataclass(frozen=True)
class Categories:
    """Values without an order, side by side."""

    values: tuple[Any, ...]

    def place(self, value: Any) -> float:
        """Returns where `value` is."""
        return (self.values.index(value) + 0.5) / len(self.values) if value in self.values else math.nan

    def ticks(self, count: int) -> list[Tick]:
        """Returns every value, whatever the `count`."""
        return [(self.place(value), _name(value)) for value in self.values]


def axis_of(values: Sequence[Any], log: bool = False, category: bool = False) -> Axis:
    """Returns the axis that suits the values of a hyperparameter.

    Args:
        values: all of them; numbers, words or booleans.
        log: whether the search drew from a logarithmic range.
        category: whether it drew from a category. Words are always a category.
    """
    values = [value for value in values if value is not None]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if category or len(numbers) < len(values) or not numbers:
        return Categories(tuple(sorted(set(values), key=lambda value: (str(type(value)), value))))
    if log and 0 < min(numbers) < max(numbers):
        stretch = (max(numbers) / min(numbers)) ** 0.04
        return Log(min(numbers) / stretch, max(numbers) * stretch)
    return Linear.over(numbers, whole=all(isinstance(value, int) for value in numbers))


def _clamped(share: float) -> float:
    return share if math.isnan(share) else min(max(share, 0.0), 1.0)


def _short(value: float) -> str:
    return f"{value:.6g}" if value else "0"


def _name(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
