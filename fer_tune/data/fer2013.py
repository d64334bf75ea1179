"""Facts about FER2013, used for FER2013 only. Other data sets bring their own class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Class names. The position of a name is its label in FER2013's CSV files."""

SIDE = 48
"""Height and width of an image."""

USAGES = ("Training", "PublicTest", "PrivateTest")
"""The parts of the competition. The position of a part is its code in `Dataset.usage`."""

COUNTS = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}
"""Images of each class in each part."""

SYNONYMS = {
    "angry": "anger",
    "disgust": "disgusted",
    "fear": "afraid fearful",
    "happy": "happiness joy",
    "sad": "sadness",
    "surprise": "surprised",
    "neutral": "neutrality calm",
}
"""Other names that data sets give to the seven emotions."""

_LABELS = {word: label for label, emotion in enumerate(EMOTIONS) for word in (emotion, *SYNONYMS[emotion].split())}


def label_of(name: str) -> int | None:
    """Returns the label of an emotion, whatever the case of its name; None for any other word."""
    return _LABELS.get(name.strip().lower())


def is_fer2013(counts: Sequence[int]) -> bool:
    """Returns whether FER2013, or its training part, has so many images of each class."""
    whole = tuple(map(sum, zip(*COUNTS.values(), strict=True)))
    return tuple(counts) in {COUNTS["Training"], whole}


@dataclass(frozen=True)
class ByHand:
    """One of the nine experiments that were done by hand on FER2013 before fer-tune existed.

    Accuracies are in per cent. None means that the figure was not recorded.

    Attributes:
        epochs: epochs that were trained.
        schedule: epochs that were planned.
        at: the epoch whose validation accuracy was recorded. None means the last one.
        about: whether `val` is a rounded figure.
        like: the number of the experiment that this one did not differ from.
    """

    number: int
    family: str
    what: str
    epochs: int | None = None
    schedule: int | None = None
    at: int | None = None
    train: float | None = None
    val: float | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    test: float | None = None
    about: bool = False
    like: int | None = None


BY_HAND = (
    ByHand(1, "simple_cnn", "two convolutions, ReLU, pooling", epochs=10, schedule=10, at=8, val=50.31),
    ByHand(
        2, "deep_cnn", "32-64-128 with BatchNorm, Linear 512, dropout", epochs=20, schedule=20,
        train=87.59, val=58.83, train_loss=0.3356, val_loss=1.4871,
    ),
    ByHand(
        3, "deep_cnn", "early stopping, lower lr, more dropout, weight decay", epochs=16, schedule=20,
        train=67.50, val=55.40, train_loss=0.8848, val_loss=1.1764,
    ),
    ByHand(4, "deep_cnn", "class-weighted sampling, flips and colour changes", val=40.0, about=True),
    ByHand(
        5, "deep_cnn", "as 4, higher lr, more epochs, less decay", epochs=29, schedule=29,
        train=39.84, val=44.95, train_loss=1.5495, val_loss=1.4191,
    ),
    ByHand(6, "resnet", "for grey images; dropout 0.5, lr 3e-4, decay 1e-5"),
    ByHand(
        7, "resnet", "as 6, BatchNorm and ReLU at the input and in the head", epochs=18, schedule=18,
        train=79.20, val=59.90, train_loss=0.5775, val_loss=1.2795,
    ),
    ByHand(
        8, "resnet", "as 7, two head dropouts, rising block dropout", epochs=20, schedule=30,
        train=62.53, val=57.14, train_loss=1.0291, val_loss=1.1521, test=58.16,
    ),
    ByHand(9, "resnet", "as 8, one-channel first convolution, higher lr", like=8),
)  # fmt: skip
"""All nine, on the 28,709 images of train.csv with a plain random split. Copies of images crossed
that split."""
