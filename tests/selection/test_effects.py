"""Tests of the model of effects: it finds what matters, and knows how sure it is."""

from __future__ import annotations

import numpy as np

from fer_tune.selection.effects import fit


def test_few_of_many_hyperparameters_are_found_to_matter() -> None:
    random = np.random.default_rng(0)
    rows = random.uniform(-1, 1, (80, 40))
    values = 0.6 + 0.05 * rows[:, 3] - 0.04 * rows[:, 20] + random.normal(0, 0.005, 80)
    model = fit(rows, values, np.ones(80), np.arange(40) // 2)
    assert set(np.argsort(-model.importance)[:2]) == {1, 10}
    assert model.importance[[1, 10]].sum() > 0.8


def test_it_is_less_sure_where_it_has_seen_nothing() -> None:
    random = np.random.default_rng(1)
    rows = np.zeros((30, 4))
    rows[:, :2] = random.uniform(-1, 1, (30, 2))
    model = fit(rows, 0.5 + 0.1 * rows[:, 0] + random.normal(0, 0.01, 30), np.ones(30), np.arange(4))
    _, spread = model.predict(np.eye(4))
    assert spread[3] > 3 * spread[0]


def test_values_that_are_less_certain_count_less() -> None:
    rows = np.tile([[-1.0], [1.0]], (20, 1))
    values = np.concatenate([np.tile([0.4, 0.6], 10), np.tile([0.6, 0.4], 10)])
    noise = np.concatenate([np.ones(20), np.full(20, 100.0)])
    model = fit(rows, values, noise, np.array([0]))
    assert model.predict(np.array([[1.0]]))[0][0] > 0.55
