"""Which images an epoch shows and in what order, and how much each class weighs in the loss."""

from __future__ import annotations

import torch
from torch import Tensor


def frequency_weights(labels: Tensor, power: float, classes: int) -> Tensor:
    """Returns class frequency to the power -`power`, float64 [classes], with mean 1 over `labels`.

    A class without images gets weight 0. Power 0 gives exactly 1 for every present class.
    """
    counts = torch.zeros(classes, dtype=torch.float64, device=labels.device)
    counts.scatter_add_(0, labels, torch.ones_like(labels, dtype=torch.float64))
    weights = torch.where(counts > 0, counts.clamp(min=1).pow(-power), torch.zeros_like(counts))
    return weights * (labels.numel() / (weights * counts).sum())


def epoch_order(labels: Tensor, weights: Tensor) -> Tensor:
    """Returns positions into `labels`, int64 [N], for one epoch in random order.

    Systematic resampling over the images in random order within their classes: image i is shown
    floor(w_i) times and once more with probability w_i - floor(w_i), so that every epoch has N
    images and each class its share to within one. With all weights 1 each image comes exactly once.

    Args:
        labels: int64 [N], below 256.
        weights: float64 [classes], mean 1 over `labels`.
    """
    count = labels.numel()
    shuffled = torch.randperm(count, device=labels.device)
    by_class = labels[shuffled].to(torch.uint8).sort(stable=True)  # a GPU sorts bytes in an eighth of the passes
    shuffled = shuffled[by_class.indices]
    edges = weights[by_class.values.long()].cumsum(0)
    edges[-1:].fill_(count)  # rounding must not lose or add an image (and `edges[-1] = count` would wait for the GPU)
    ends = torch.floor(edges + torch.rand((), dtype=torch.float64, device=labels.device)).long().clamp(max=count)
    # image i has the places from ends[i - 1] up to ends[i]; they are visited in random order
    places = torch.randperm(count, device=labels.device)
    return shuffled[torch.searchsorted(ends, places, right=True)]


def several_views(order: Tensor, views: int, batch: int) -> Tensor:
    """Returns an epoch in which each batch has several views of the same faces.

    The epoch has as many images as before, and only a part of the faces. The views of a face are
    not neighbours, because mixup would mix the face with itself.

    Args:
        order: int64 [N], the faces of an epoch in their order.
        views: how often a batch shows a face.
        batch: number of images in a batch.
    """
    count, faces = len(order), max(1, batch // views)
    groups = -(-count // (faces * views))
    chosen = order[torch.arange(groups * faces, device=order.device) % count]
    return chosen.view(groups, faces).repeat(1, views).flatten()[:count]
