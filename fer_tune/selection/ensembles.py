"""The choice of an ensemble from stored predictions: greedy, with replacement.

Caruana et al. 2004: beginning with nothing, add the model that improves the mean of the
probabilities most. A model may be added again, which gives it more weight. What is improved is the
mean log of the true class's probability. It needs that one probability of each model and image, so
500 models take a second. It is also less noisy than the accuracy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
"""Parts of the images for the honest figure: each is judged by a choice from the others."""

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class EnsembleChoice:
    """A chosen ensemble.

    Attributes:
        weights: how often each model was chosen, by its position, the most frequent first.
        accuracy: of the ensemble on the images that it was chosen by, which flatter it.
        honest: its accuracy on images that it was not chosen by, by cross-fitting.
        single: the position of the best single model.
        single_accuracy: accuracy of that model on the images that it was chosen by.
        single_honest: the same for the choice of a single model, by cross-fitting.
    """

    weights: dict[int, int]
    accuracy: float
    honest: float
    single: int
    single_accuracy: float
    single_honest: float


def choose(probabilities: Sequence[Floats], labels: Labels, size: int, seed: int = 0) -> EnsembleChoice:
    """Chooses an ensemble of at most `size` models.

    Args:
        probabilities: of each model, [V, C].
        labels: of the images, [V].
        seed: of the division of the images for the honest figures.
    """
    stack = np.stack([np.asarray(one, np.float32) for one in probabilities])
    true = stack[:, np.arange(len(labels)), labels]
    right = stack.argmax(axis=2) == labels
    picked, single = greedy(true, size), int(right.mean(axis=1).argmax())
    fold = np.random.default_rng(seed).permutation(len(labels)) % min(FOLDS, max(2, len(labels)))
    hits = single_hits = 0
    for part in np.unique(fold):
        inside, outside = fold == part, fold != part
        mean = stack[greedy(true[:, outside], size)][:, inside].mean(axis=0)
        hits += int((mean.argmax(axis=1) == labels[inside]).sum())
        single_hits += int(right[right[:, outside].mean(axis=1).argmax()][inside].sum())
    return EnsembleChoice(
        weights=dict(Counter(picked).most_common()),
        accuracy=float((stack[picked].mean(axis=0).argmax(axis=1) == labels).mean()),
        honest=hits / len(labels),
        single=single,
        single_accuracy=float(right[single].mean()),
        single_honest=single_hits / len(labels),
    )


def greedy(true: Floats, size: int) -> list[int]:
    """Returns the positions of the models in the order of their choice, with repetitions.

    Args:
        true: probability of the true class, [models, images].
    """
    total, picked = np.zeros(true.shape[1], np.float64), list[int]()
    for count in range(1, size + 1):
        gains = np.log(np.maximum((total + true) / count, 1e-12)).mean(axis=1)
        picked.append(int(gains.argmax()))
        total += true[picked[-1]]
    return picked
