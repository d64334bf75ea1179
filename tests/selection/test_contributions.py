"""The mean of what the images add is the objective, and their spread gives its error."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from fer_tune.selection.contributions import contributions

METRICS = {
    "val_accuracy": accuracy_score,
    "val_balanced_accuracy": balanced_accuracy_score,
    "val_macro_f1": lambda labels, found: f1_score(labels, found, average="macro"),
}


def drawn(images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.choice(5, images, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    return np.where(random.random(images) < 0.6, labels, random.choice(5, images)), labels


@pytest.mark.parametrize("objective", METRICS)
def test_their_mean_is_the_objective(objective: str) -> None:
    predicted, labels = drawn(900)
    found = contributions(predicted, labels, objective, 5)
    assert found.mean() == pytest.approx(METRICS[objective](labels, predicted), abs=1e-12)


def test_a_class_that_is_neither_there_nor_predicted_does_not_count() -> None:
    predicted, labels = drawn(900)
    assert contributions(predicted, labels, "macro_f1", 9).mean() == pytest.approx(
        f1_score(labels, predicted, average="macro"), abs=1e-12
    )


@pytest.mark.parametrize("objective", METRICS)
def test_their_spread_is_the_standard_error(objective: str) -> None:
    """As measured on many drawn data sets."""
    values, errors = [], []
    for seed in range(300):
        predicted, labels = drawn(900, seed)
        found = contributions(predicted, labels, objective, 5)
        values.append(found.mean())
        errors.append(found.std(ddof=1) / 30)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.12)


def test_another_objective_is_refused() -> None:
    with pytest.raises(ValueError, match="val_loss is not"):
        contributions(*drawn(9), "val_val_loss", 5)
