"""The nine experiments that were done by hand, as they were recorded."""

from __future__ import annotations

from typing import NamedTuple

NONE = "–"


class ByHand(NamedTuple):
    """One experiment done by hand: percentages as they were recorded."""

    number: int
    family: str
    what: str
    epochs: str
    train: str
    val: str
    test: str


BY_HAND = (
    ByHand(1, "simple_cnn", "two convolutions, ReLU, pooling", "10", NONE, "50.31", NONE),
    ByHand(2, "deep_cnn", "32-64-128 with BatchNorm, Linear 512, dropout", "20", "87.59", "58.83", NONE),
    ByHand(3, "deep_cnn", "early stopping, lower lr, more dropout, weight decay", "16", "67.50", "55.40", NONE),
    ByHand(4, "deep_cnn", "class-weighted sampling, flips and colour changes", NONE, NONE, "about 40", NONE),
    ByHand(5, "deep_cnn", "as 4, higher lr, more epochs, less decay", "29", "39.84", "44.95", NONE),
    ByHand(6, "resnet", "for grey images; dropout 0.5, lr 3e-4, decay 1e-5", NONE, NONE, NONE, NONE),
    ByHand(7, "resnet", "as 6, BatchNorm and ReLU at the input and in the head", "18", "79.20", "59.90", NONE),
    ByHand(8, "resnet", "as 7, two head dropouts, rising block dropout", "20", "62.53", "57.14", "58.16"),
    ByHand(9, "resnet", "as 8, one-channel first convolution, higher lr", NONE, NONE, "as 8", NONE),
)
