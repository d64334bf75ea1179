"""The loss of a step. Its numbers are in device memory: a captured step serves many jobs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fer_tune.train.optimizer import Hyperparameters

PAST_DECAY = 0.7
"""Decay of the average of an image's past predictions.

Laine & Aila (2017) use 0.6, Liu et al. (2020) 0.7.
"""


class Loss:
    """Mean cross-entropy of a batch, with labels smoothed, mixed, and weighted by their class.

    With self-distillation the target of an image is its label and, the later the more, what was
    predicted for it before (Kim et al. 2021): labels of faces are often wrong, and a network learns
    the rule before the exceptions.

    Attributes:
        past: float32 [N, classes], the average of an image's past predictions; None without
            self-distillation.
    """

    def __init__(self, labels: Tensor, classes: int, hyper: Hyperparameters, *, distils: bool) -> None:
        self._labels = labels
        self._classes = classes
        self._hyper = hyper
        self._class_weights = torch.ones(classes, device=labels.device)
        self._trust = torch.zeros((), device=labels.device)
        self.past = torch.zeros(len(labels), classes, device=labels.device) if distils else None

    def begin(self, class_weights: Tensor) -> None:
        """Begins a job. `class_weights`: [classes], what each class weighs."""
        self._class_weights.copy_(class_weights)
        if self.past is not None:
            self.past.copy_(functional.one_hot(self._labels, self._classes))

    def begin_epoch(self, trust: float) -> None:
        """Begins an epoch. `trust`: the share of a target that past predictions have."""
        self._trust.fill_(trust)

    def __call__(self, log_probabilities: Tensor, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
        """Returns the loss of images that show `share` of `first` and the rest of `second`."""
        smoothing = self._hyper.label_smoothing
        uniform = -log_probabilities.mean(1)

        def term(images: Tensor) -> Tensor:
            labels = self._labels[images]
            own = -log_probabilities.gather(1, labels[:, None])[:, 0]
            loss = (1 - smoothing) * own + smoothing * uniform
            if self.past is not None:
                loss = loss.lerp(-(log_probabilities * self.past[images]).sum(1), self._trust)
            return self._class_weights[labels] * loss

        return (share * term(first) + (1 - share) * term(second)).mean()

    @torch.no_grad()
    def remember(self, log_probabilities: Tensor, images: Tensor, share: Tensor) -> None:
        """Moves past predictions towards those of the batch, for images that were not mixed."""
        if self.past is not None:
            change = (log_probabilities.exp() - self.past[images]) * (share == 1)[:, None]
            self.past.index_add_(0, images, change, alpha=1 - PAST_DECAY)  # a batch may show an image twice
