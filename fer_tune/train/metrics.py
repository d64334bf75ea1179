"""What an epoch measures, and figures of merit from a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Measured:
    """What one epoch measured: on the training part while training, then on the validation part."""

    train_loss: float
    train_accuracy: float
    val_loss: float
    confusion: list[list[float]]


@dataclass(frozen=True)
class Scores:
    """Fractions in 0..1, all nan without any image.

    `recall` is nan for a class without images, and the means leave that class out.
    """

    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    recall: tuple[float, ...]


def confusion_matrix(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Returns counts, float32 [classes, classes]: rows are true classes, columns predicted ones.

    It multiplies one-hot vectors instead of counting: without synchronisation, so it can be
    captured.
    """
    rows = torch.nn.functional.one_hot(labels, classes).float()
    columns = torch.nn.functional.one_hot(predicted, classes).float()
    return rows.T @ columns


def scores(confusion: list[list[float]]) -> Scores:
    """Returns accuracy, macro-F1, balanced accuracy (mean recall) and recall of each class."""
    matrix = torch.tensor(confusion, dtype=torch.float64)
    right, true, predicted = matrix.diag(), matrix.sum(1), matrix.sum(0)
    present = true > 0
    recall = torch.where(present, right / true, torch.nan)
    f1 = 2 * right / (true + predicted).clamp(min=1)
    counted = present | (predicted > 0)
    return Scores(
        accuracy=float(right.sum() / true.sum()),
        macro_f1=float(f1[counted].mean()),
        balanced_accuracy=float(recall[present].mean()),
        recall=tuple(recall.tolist()),
    )
