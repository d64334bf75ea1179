"""What a confusion matrix says of each class."""

from __future__ import annotations

import pytest
from sklearn.metrics import precision_recall_fscore_support

from fer_tune.selection.classes import class_report
from fer_tune.selection.statistics import wilson

MATRIX = [[8, 2, 0], [1, 4, 0], [0, 0, 0]]


def test_figures_are_those_of_scikit_learn() -> None:
    labels = [true for true, row in enumerate(MATRIX) for count in row for _ in range(count)]
    found = [column for row in MATRIX for column, count in enumerate(row) for _ in range(count)]
    theirs = precision_recall_fscore_support(labels, found, labels=[0, 1, 2], zero_division=0)
    report = class_report(["a", "b", "c"], MATRIX)
    for place, name in enumerate("abc"):
        for key, values in zip(("precision", "recall", "f1", "support"), theirs, strict=True):
            assert report[name][key] == pytest.approx(values[place])


def test_intervals_are_wilson_s() -> None:
    report = class_report(["a", "b", "c"], MATRIX)
    assert report["a"]["recall_interval"] == [wilson(8, 10).low, wilson(8, 10).high]
    assert report["b"]["precision_interval"] == [wilson(4, 6).low, wilson(4, 6).high]
    assert report["c"]["recall_interval"] == [0.0, 1.0]
