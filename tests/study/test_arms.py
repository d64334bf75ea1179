"""Tests of the arms: the weights follow the evidence, and the model finds what is good."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer_tune.study.arms import BESIDE_OTHERS, BEST, CHANCE, MODEL, PRIOR, Evidence, from_model, weights
from fer_tune.study.configurations import Cube
from fer_tune.sweep.load import loads_sweep

CUBE = Cube(
    loads_sweep(
        "family: vgg\nparams: {" + ", ".join(f"{name}: {{low: 0.0, high: 0.5}}" for name in ("mixup", "cutmix")) + "}",
        Path("s.yaml"),
    ).space
)


def evidence(arms: list[str], values: list[float]) -> Evidence:
    points = CUBE.draw(len(arms), np.random.default_rng(0))
    return Evidence.of(list(points), [{1: value} for value in values], arms)


def test_without_evidence_the_weights_are_the_initial_ones() -> None:
    assert weights({PRIOR: 0.6, CHANCE: 0.4}, None, 3) == {PRIOR: 0.6, CHANCE: 0.4}


def test_a_misleading_prior_is_outlived_and_a_good_one_is_used_more() -> None:
    initial = {PRIOR: 0.6, CHANCE: 0.2, MODEL: 0.2}
    arms = [PRIOR] * 20 + [CHANCE] * 20
    bad = weights(initial, evidence(arms, [0.1] * 20 + list(np.linspace(0.3, 0.6, 20))), 3)
    good = weights(initial, evidence(arms, list(np.linspace(0.5, 0.6, 20)) + [0.1] * 20), 3)
    assert bad[PRIOR] < 0.15
    assert good[PRIOR] > 0.8
    assert sum(bad.values()) == pytest.approx(1)


def test_the_model_proposes_what_was_good() -> None:
    random = np.random.default_rng(0)
    points = CUBE.draw(40, random)
    values = 0.5 + 0.1 * points[:, 0] + random.normal(0, 0.005, 40)
    found = Evidence.of(list(points), [{1: value} for value in values], [MODEL] * 40)
    drawn = np.array([from_model(CUBE, found, random) for _ in range(10)])
    assert np.median(drawn[:, 0]) > 0.9
    assert drawn[:, 1].std() > 0.1


def test_the_best_are_those_with_the_best_forecasts() -> None:
    found = evidence([BEST] * 4, [0.3, 0.5, 0.4, 0.45])
    assert np.array_equal(found.best(2), found.points[[1, 3]])


def test_a_smaller_spread_draws_closer_to_what_is_expected() -> None:
    points = CUBE.draw(8, np.random.default_rng(0))
    values = list(0.5 + 0.02 * points[:, 0])
    found = Evidence.of(list(points), [{1: value} for value in values], [MODEL] * 8)
    drawn = {
        spread: np.array([from_model(CUBE, found, np.random.default_rng(seed), spread)[0] for seed in range(20)])
        for spread in (0.1, BESIDE_OTHERS)
    }
    assert drawn[0.1].mean() > drawn[BESIDE_OTHERS].mean() + 0.05
