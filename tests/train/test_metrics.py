import math

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from fer_tune.train.metrics import confusion_matrix, scores


def test_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 500)
    predicted = np.where(rng.random(500) < 0.6, labels, rng.integers(0, 7, 500))
    matrix = confusion_matrix(torch.from_numpy(labels), torch.from_numpy(predicted), 7)
    assert np.array_equal(matrix.numpy(), reference.confusion_matrix(labels, predicted))
    found = scores(matrix.tolist())
    assert found.accuracy == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found.macro_f1 == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert found.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert found.recall == pytest.approx(reference.recall_score(labels, predicted, average=None))


def test_a_class_without_images_has_no_recall_and_does_not_count():
    labels = torch.tensor([0, 0, 2, 2])
    found = scores(confusion_matrix(labels, torch.tensor([0, 0, 2, 1]), 4).tolist())
    assert math.isnan(found.recall[3])
    assert found.balanced_accuracy == pytest.approx(0.75)
    assert found.macro_f1 == pytest.approx((1 + 0 + 2 / 3) / 3)


def test_nothing_evaluated_is_nan_and_no_error():
    found = scores([[0.0] * 7] * 7)
    assert math.isnan(found.accuracy)
    assert math.isnan(found.balanced_accuracy)
