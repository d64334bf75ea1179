"""Tests of what a rung compares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from fer_tune.study.rung_values import rung_value


@dataclass(frozen=True)
class Row:
    val_loss: float
    val_accuracy: float


@pytest.mark.parametrize(
    ("loss", "accuracy", "by_objective", "by_loss"),
    [(1.2, 0.6, 0.6, -1.2), (math.inf, 0.6, 0.6, -math.inf), (math.nan, 0.6, 0.6, -math.inf)],
)
def test_a_rung_compares_the_objective_or_the_loss(
    loss: float, accuracy: float, by_objective: float, by_loss: float
) -> None:
    row = Row(loss, accuracy)
    assert rung_value(row, "val_accuracy", "objective") == by_objective
    assert rung_value(row, "val_accuracy", "val_loss") == by_loss


def test_no_rung_knows_an_epoch_whose_objective_is_not_finite() -> None:
    row = Row(1.0, math.nan)
    assert math.isnan(rung_value(row, "val_accuracy", "objective"))
    assert math.isnan(rung_value(row, "val_accuracy", "val_loss"))
