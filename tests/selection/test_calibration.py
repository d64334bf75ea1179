"""Temperatures and calibration errors, on predictions whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats
from sklearn.metrics import log_loss as their_loss

from fer_tune.selection.calibration import (
    CLEAR,
    calibration_error,
    fit_temperature,
    log_loss,
    needs_temperature,
    softmax,
)


def drawn(images: int, temperature: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits that are too sure by a factor, and labels that they predict."""
    random = np.random.default_rng(seed)
    honest = 2 * random.standard_normal((images, 4))
    chances = softmax(honest)
    labels = np.array([random.choice(4, p=row) for row in chances])
    return honest * temperature, labels


def test_softmax_and_loss_are_the_usual_ones() -> None:
    logits, labels = drawn(200, 1.0)
    assert softmax(logits, 2.0) == pytest.approx(special.softmax(logits / 2, axis=1), abs=1e-12)
    assert log_loss(softmax(logits), labels) == pytest.approx(their_loss(labels, softmax(logits)), abs=1e-9)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_that_made_them_too_sure(temperature: float) -> None:
    logits, labels = drawn(20_000, temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    before, after = (calibration_error(softmax(logits, one), labels) for one in (1.0, found))
    assert after < 0.015
    assert before > after or temperature == 1.0
    best = log_loss(softmax(logits, found), labels)
    assert all(log_loss(softmax(logits, found * factor), labels) > best for factor in (0.98, 1.02))


def test_a_temperature_is_needed_only_if_the_images_say_so_clearly() -> None:
    assert pytest.approx(stats.chi2.ppf(0.95, 1), abs=5e-4) == CLEAR
    needed = []
    for seed in range(100):
        logits, labels = drawn(300, 1.0, seed)
        needed.append(needs_temperature(logits, labels, fit_temperature(logits, labels)))
    assert sum(needed) <= 11  # 5 are expected; more than 11 happen once in 250
    logits, labels = drawn(300, 1.5)
    assert needs_temperature(logits, labels, fit_temperature(logits, labels))
    assert not needs_temperature(np.zeros((0, 3)), np.zeros(0, int), 1.0)


def test_the_error_is_the_gap_of_confidence_and_accuracy() -> None:
    chances = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    labels = np.array([0, 1, 0, 0])
    assert calibration_error(chances, labels) == pytest.approx((2 * abs(0.5 - 0.9) + 2 * abs(1.0 - 0.6)) / 4)
    assert calibration_error(np.eye(2), np.array([0, 1])) == 0.0


def test_nothing_is_known_without_images() -> None:
    none = np.zeros((0, 3))
    assert fit_temperature(none, np.zeros(0, int)) == 1.0
    assert math.isnan(calibration_error(none, np.zeros(0, int)))
