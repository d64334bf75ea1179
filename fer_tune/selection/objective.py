"""The objective of a whole training, from the values of its epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

from fer_tune.job import ObjectiveOf

RULES: tuple[ObjectiveOf, ...] = get_args(ObjectiveOf)

LAST = 5
"""Epochs whose mean `mean_last` is. A shorter training has fewer."""


def objective_of(values: Sequence[float], rule: ObjectiveOf, last: int = LAST) -> float | None:
    """Returns the objective of a training, or None if no epoch that counts has a finite value.

    `max` flatters a noisy curve: the best of many epochs is best partly by chance. The other rules
    do not choose an epoch by its value. But `max` has less noise between seeds, and predicts best
    what another seed ends with. `benchmarks.objective` measured it, so it is the default.

    Args:
        values: of the epochs, in order. Values that are not finite are left out.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    match rule:
        case "max":
            return max(finite)
        case "last":
            return finite[-1]
        case "mean_last":
            some = finite[-last:]
            return math.fsum(some) / len(some)
