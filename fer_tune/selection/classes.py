"""What a confusion matrix says of each class, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fer_tune.selection.statistics import wilson


def class_report(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> dict[str, dict[str, Any]]:
    """Returns precision, recall, F1 and support for each class, with intervals of 95 %.

    Args:
        classes: C names.
        confusion: counts of images, C rows of true classes and C columns of predicted ones.

    Returns:
        The figures by class name. A fraction whose divisor is 0 is 0. An interval is a list of its
        two ends, by Wilson's formula.
    """
    report = {}
    for index, name in enumerate(classes):
        right = confusion[index][index]
        true, predicted = sum(confusion[index]), sum(row[index] for row in confusion)
        recall, precision = wilson(right, true), wilson(right, predicted)
        report[name] = {
            "precision": right / predicted if predicted else 0.0,
            "precision_interval": [precision.low, precision.high],
            "recall": right / true if true else 0.0,
            "recall_interval": [recall.low, recall.high],
            "f1": 2 * right / (true + predicted) if true + predicted else 0.0,
            "support": true,
        }
    return report
