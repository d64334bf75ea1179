"""The choice of an ensemble: it beats its members, and its honest figure is honest."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fer_tune.selection.calibration import softmax
from fer_tune.selection.ensembles import choose, greedy


def models(count: int, images: int, seed: int = 0, classes: int = 7) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns models that see the same evidence, each with noise of its own."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images)
    evidence = 1.5 * np.eye(classes)[labels] + random.standard_normal((images, classes))
    noisy = (evidence + random.standard_normal((images, classes)) for _ in range(count))
    return [softmax(one).astype(np.float32) for one in noisy], labels


def test_an_ensemble_beats_its_best_member() -> None:
    some, labels = models(20, 2000)
    found = choose(some, labels, 8)
    assert sum(found.weights.values()) == 8
    assert found.honest > found.single_honest + 0.02
    assert found.single == max(range(20), key=lambda place: (some[place].argmax(1) == labels).mean())


def test_the_honest_figure_is_that_of_fresh_images_on_average() -> None:
    """Small parts make the flattery large: the best of 40 models on 100 images."""
    honest, flattered, fresh = [], [], []
    for seed in range(30):
        some, labels = models(40, 1100, seed)
        found = choose([one[:100] for one in some], labels[:100], 1, seed)
        honest.append(found.single_honest)
        flattered.append(found.single_accuracy)
        fresh.append((some[found.single][100:].argmax(1) == labels[100:]).mean())
    assert np.mean(flattered) > np.mean(fresh) + 0.04
    assert np.mean(honest) == pytest.approx(np.mean(fresh), abs=0.025)


def test_a_good_model_is_chosen_more_than_once_where_the_others_only_harm() -> None:
    labels = np.zeros(50, int)
    good, bad = np.tile([0.9, 0.1], (50, 1)), np.tile([0.2, 0.8], (50, 1))
    assert choose([bad, good, bad], labels, 4).weights == {1: 4}


def test_the_greedy_choice_is_that_of_trying_every_model() -> None:
    some, labels = models(6, 60)
    true = np.stack([one[np.arange(60), labels] for one in some])
    picked: list[int] = []
    for _ in range(4):
        scores = [np.log(true[[*picked, one]].mean(axis=0)).mean() for one in range(6)]
        picked.append(int(np.argmax(scores)))
    assert greedy(true, 4) == picked


def test_five_hundred_models_take_seconds() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 7, 4306)
    some = [softmax(random.standard_normal((4306, 7)).astype(np.float32)).astype(np.float32)] * 500
    began = time.process_time()
    choose(some, labels, 8)
    assert time.process_time() - began < 10
