"""How well probabilities mean what they say, and a temperature that makes them do so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]

BINS = 15
"""Bins of confidence in which it is compared with the accuracy, as in Guo et al. 2017."""

CLEAR = 3.841
"""95 % quantile of the chi-squared distribution with one degree of freedom."""

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of a temperature."""


def softmax(logits: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """Returns probabilities [N, C] of logits [N, C]. A temperature above 1 makes them less sure."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def log_loss(probabilities: Floats, labels: Labels) -> float:
    """Returns the mean cross-entropy in nats."""
    right = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(right, 1e-12)).mean())


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """Returns the temperature with the least cross-entropy (Guo et al. 2017). 1 without images."""
    from scipy.optimize import minimize_scalar

    if not len(labels):
        return 1.0
    below = np.asarray(logits, np.float32) - np.asarray(logits, np.float32).max(axis=1, keepdims=True)
    true = float(below[np.arange(len(labels)), labels].mean(dtype=np.float64))

    def loss(power: float) -> float:
        """Returns the cross-entropy without the parts that no temperature changes."""
        share = math.exp(-power)
        return float(np.log(np.exp(below * share).sum(axis=1)).mean(dtype=np.float64)) - true * share

    bounds = math.log(COLDEST), math.log(HOTTEST)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return math.exp(float(found.x))


def needs_temperature(logits: Floats, labels: Labels, temperature: float) -> bool:
    """Returns whether images speak clearly against a temperature of 1.

    The likelihood-ratio test says so, at a level of 5 %. A temperature that few images seem to need
    makes the probabilities of others no better.
    """
    if not len(labels):
        return False
    gain = log_loss(softmax(logits), labels) - log_loss(softmax(logits, temperature), labels)
    return 2 * len(labels) * gain > CLEAR


def calibration_error(probabilities: Floats, labels: Labels) -> float:
    """Returns the expected calibration error, in 0..1: the mean gap of confidence and accuracy.

    It is nan without images.
    """
    if not len(labels):
        return math.nan
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(place, weights=confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))
