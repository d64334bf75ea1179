"""A configuration as numbers, for models that learn from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.search.curves import Floats
from fer_tune.job import Value
from fer_tune.sweep.space import Choice, Fixed, Range, Space, same

ABSENT = -1.0
"""Stands for a parameter that is not active. All others are between 0 and 1."""


class Features:
    """Turns configurations of a space into rows of numbers.

    A range becomes its position in the range. A range with alternatives also becomes the logarithm
    of its value, so that the alternatives can be compared. A choice becomes one column for each
    value.
    """

    def __init__(self, space: Space) -> None:
        self.space = {key: parameter for key, parameter in space.items() if not isinstance(parameter.domain, Fixed)}
        names = [parameter.name for parameter in self.space.values()]
        self._shared = sorted({name for name in names if names.count(name) > 1})

    def rows(self, configurations: Sequence[Mapping[str, Value]]) -> Floats:
        """Returns the features [configurations, columns]."""
        return np.array([self._row(params) for params in configurations], dtype=np.float64)

    def _row(self, params: Mapping[str, Value]) -> list[float]:
        row: list[float] = []
        for parameter in self.space.values():
            active = parameter.active(params) and parameter.name in params
            value = params.get(parameter.name, 0)
            if isinstance(parameter.domain, Choice):
                row += [float(same(value, choice)) if active else ABSENT for choice in parameter.domain.choices]
            elif isinstance(parameter.domain, Range):
                row.append(position(parameter.domain, float(value)) if active else ABSENT)
        for name in self._shared:
            shared = params.get(name)
            positive = isinstance(shared, int | float) and shared > 0
            row.append(math.log10(float(shared)) / 10 if positive and shared is not None else ABSENT)
        return row


def position(domain: Range, value: float) -> float:
    """Returns where in a range a value is, from 0 to 1."""
    low, high = domain.low, domain.high
    if domain.log:
        low, high, value = math.log(low), math.log(high), math.log(max(value, 1e-300))
    return (value - low) / (high - low) if high > low else 0.0
