"""What each image adds to an objective, so that models are compared image by image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


def contributions(predicted: Labels, labels: Labels, objective: str, classes: int) -> Floats:
    """Returns float64 [V], whose mean is the objective, such as `val_macro_f1`.

    For the accuracy they are 1 and 0. The other objectives are not means of images. Their
    contributions are those of the infinitesimal jackknife, so that the spread gives the standard
    error.

    Args:
        predicted, labels: positions of classes, [V] each.
        objective: `accuracy`, `balanced_accuracy` or `macro_f1`, with or without `val_`.
        classes: number of classes.
    """
    right: Floats = (predicted == labels).astype(np.float64)
    match objective.removeprefix("val_"):
        case "accuracy":
            return right
        case "balanced_accuracy":
            return _balanced(right, labels, classes)
        case "macro_f1":
            return _macro_f1(predicted, labels, classes)
        case other:
            raise ValueError(f"{other} is not an objective")


def _balanced(right: Floats, labels: Labels, classes: int) -> Floats:
    counts = np.bincount(labels, minlength=classes)
    recall = np.bincount(labels, weights=right, minlength=classes) / np.maximum(counts, 1)
    present = np.count_nonzero(counts)
    influence: Floats = len(labels) * (right - recall[labels]) / (present * counts[labels])
    return float(recall.sum()) / present + influence


def _macro_f1(predicted: Labels, labels: Labels, classes: int) -> Floats:
    true, found = np.bincount(labels, minlength=classes), np.bincount(predicted, minlength=classes)
    right = np.bincount(labels[predicted == labels], minlength=classes)
    total = true + found
    counted = int(np.count_nonzero(total))
    safe = np.maximum(total, 1)
    f1 = 2 * right / safe
    gain, loss = 2 / safe, 2 * right / safe.astype(np.float64) ** 2
    influence: Floats = (predicted == labels) * gain[labels] - loss[labels] - loss[predicted]
    return float(f1.sum()) / counted + len(labels) * influence / counted
