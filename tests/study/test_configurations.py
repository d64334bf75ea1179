"""Tests of configurations as points: conditions, ranges, neighbours, and features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_tune.study.configurations import Cube
from fer_tune.sweep.load import loads_sweep

TEXT = """
family: deep_cnn
params:
  optimizer: {choices: [sgd, adam]}
  lr:
    - {low: 0.01, high: 0.3, log: true, when: {optimizer: sgd}}
    - {low: 1.0e-4, high: 5.0e-3, log: true, when: {optimizer: adam}}
  momentum: {low: 0.8, high: 0.9, step: 0.05, when: {optimizer: sgd}}
  width: 32
  hidden_norm: {choices: [true, false]}
  augment: {low: 0.0, high: 1.0}
  mixup: {low: 0.1, high: 0.5, off: 0.5}
"""
SPACE = loads_sweep(TEXT, Path("s.yaml")).space
CUBE = Cube(SPACE)


@given(st.integers(0, 2**32 - 1))
def test_every_point_is_a_configuration_of_the_space(seed: int) -> None:
    random = np.random.default_rng(seed)
    found = CUBE.configuration(CUBE.draw(1, random)[0])
    params = {SPACE[key].name: value for key, value in found.items()} | {"width": 32}
    assert set(found) == {key for key, one in SPACE.items() if one.active(params) and key != "width"}
    assert all(SPACE[key].domain.contains(value) for key, value in found.items())


@given(st.integers(0, 2**32 - 1))
def test_a_configuration_is_found_again_at_its_point(seed: int) -> None:
    random = np.random.default_rng(seed)
    found = CUBE.configuration(CUBE.draw(1, random)[0])
    again = CUBE.configuration(CUBE.point(found, random))
    assert again == {key: pytest.approx(value) if isinstance(value, float) else value for key, value in found.items()}


def test_stratified_points_have_each_part_of_each_position_once() -> None:
    points = CUBE.stratified(12, np.random.default_rng(0))
    assert all(sorted(position) == list(range(12)) for position in (points * 12).astype(int).T)
    other = CUBE.stratified(12, np.random.default_rng(1))
    assert not np.array_equal(np.argsort(points, axis=0), np.argsort(other, axis=0))
    assert CUBE.stratified(0, np.random.default_rng(0)).shape == (0, len(CUBE.parameters))


def test_neighbours_differ_in_at_least_one_parameter_and_stay_in_the_cube() -> None:
    random = np.random.default_rng(0)
    centres = CUBE.draw(200, random)
    near = CUBE.near(centres, random, spread=0.2, chance=0.1)
    changed = (near != centres).sum(1)
    assert changed.min() >= 1
    assert changed.mean() < 3
    assert near.min() >= 0
    assert near.max() <= 1


def test_features_are_zero_for_what_is_not_active() -> None:
    random = np.random.default_rng(0)
    points = CUBE.draw(400, random)
    features = CUBE.features(points)
    keys = [one.key for one in CUBE.parameters]
    of_sgd = features[:, keys.index("lr[optimizer=sgd]") == CUBE.groups]
    sgd = [CUBE.configuration(point)["optimizer"] == "sgd" for point in points]
    assert (np.any(of_sgd != 0, axis=1) == np.array(sgd)).all()
    assert np.abs(features.mean(0)).max() < 0.15


def test_a_range_that_may_be_off_is_at_its_low_end_in_that_share_of_the_draws() -> None:
    random = np.random.default_rng(0)
    values = np.array([CUBE.configuration(point)["mixup"] for point in CUBE.draw(2000, random)])
    used = values[values > 0.1]
    assert np.mean(values == 0.1) == pytest.approx(0.5, abs=0.04)
    assert used.mean() == pytest.approx(0.3, abs=0.02)


def test_a_range_that_may_be_off_has_one_feature_that_says_whether_it_is() -> None:
    random = np.random.default_rng(0)
    points = CUBE.draw(400, random)
    place = [one.key for one in CUBE.parameters].index("mixup")
    off, position, square = CUBE.features(points)[:, place == CUBE.groups].T
    used = np.array([CUBE.configuration(point)["mixup"] != 0.1 for point in points])
    assert (np.sign(off) == np.where(used, 1, -1)).all()
    assert not position[~used].any()
    assert not square[~used].any()


def test_a_neighbour_turns_off_what_was_used_and_uses_what_was_off() -> None:
    random = np.random.default_rng(0)
    for before in (0.1, 0.15):
        centre = CUBE.point({"mixup": before}, random)
        near = CUBE.near(np.repeat(centre[None], 400, axis=0), random, spread=0.2, chance=0.5)
        off = np.array([CUBE.configuration(point)["mixup"] == 0.1 for point in near])
        assert 0.1 < off.mean() < 0.9
