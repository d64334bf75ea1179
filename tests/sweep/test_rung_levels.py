"""Tests of the epochs at which trials pause."""

from __future__ import annotations

import pytest

from fer_tune.sweep.rung_levels import rung_epochs


@pytest.mark.parametrize(
    ("epochs", "factor", "first", "rungs"),
    [
        (40, 3, None, (4, 12)),
        (100, 3, None, (10, 30)),
        (40, 3, 5, (5, 15)),
        (27, 3, 1, (1, 3, 9)),
        (60, 4, None, (6, 24)),
        (30, 4, None, (3, 12)),
        (2, 3, None, (1,)),
        (1, 3, None, ()),
        (10, 3, 10, ()),
    ],
)
def test_rungs_grow_by_the_factor_and_stay_below_the_schedule(
    epochs: int, factor: int, first: int | None, rungs: tuple[int, ...]
) -> None:
    assert rung_epochs(epochs, factor, first) == rungs
