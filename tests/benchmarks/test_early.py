"""Tests of what early epochs tell of the end of a training."""

from __future__ import annotations

import numpy as np

from benchmarks.search.curves import MEASURES
from benchmarks.search.early import VALUES, correlations


def test_a_value_that_decides_the_end_correlates_with_it_and_another_does_not() -> None:
    random = np.random.default_rng(0)
    rows = random.uniform(0, 0.01, (40, 10, len(MEASURES)))
    final = np.linspace(0.3, 0.6, 40)
    rows[:, :, MEASURES.index("val_accuracy")] += final[:, None]
    rows[:, :, MEASURES.index("train_loss")] = random.permutation(40)[:, None]
    found = correlations(rows, 4)
    assert set(found) == set(VALUES)
    assert found["val accuracy"][0] > 0.95
    assert abs(found["train loss"][0]) < 0.5
