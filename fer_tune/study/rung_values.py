"""What a rung compares of a trial's epochs."""

from __future__ import annotations

import math
from typing import Protocol

from fer_tune.sweep.search_spec import Compared


class MeasuredEpoch(Protocol):
    """An epoch's row, from a trainer or from the database. The objective is one of its fields."""

    @property
    def val_loss(self) -> float:
        """The loss on the validation images."""
        ...


def rung_value(row: MeasuredEpoch, objective: str, compare: Compared) -> float:
    """Returns what a rung compares of an epoch. Higher is better.

    It is nan if the objective is not finite. Then the trial fails, and no rung should know it.
    """
    value = float(getattr(row, objective))
    if not math.isfinite(value):
        return math.nan
    if compare == "objective":
        return value
    return -row.val_loss if math.isfinite(row.val_loss) else -math.inf
