"""What a whole training is worth, from the values of its epochs."""

from __future__ import annotations

import math

import pytest

from fer_tune.selection.objective import RULES, objective_of

CURVE = [0.3, 0.7, 0.5, 0.6, 0.61, 0.62, 0.6]


def test_each_rule() -> None:
    assert objective_of(CURVE, "max") == 0.7
    assert objective_of(CURVE, "last") == 0.6
    assert objective_of(CURVE, "mean_last") == pytest.approx(sum(CURVE[2:]) / 5)
    assert objective_of(CURVE, "mean_last", last=2) == pytest.approx(0.61)
    assert objective_of(CURVE[:2], "mean_last") == 0.5


@pytest.mark.parametrize("rule", RULES)
def test_what_is_not_finite_does_not_count(rule) -> None:
    assert objective_of([0.5, math.nan, math.inf], rule) == 0.5
    assert objective_of([math.nan], rule) is None
    assert objective_of([], rule) is None
