"""Published figures on FER2013, restated in the protocol that their code used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A published figure on PrivateTest without other data, restated in the protocol of its code.

    Attributes:
        accuracy: in per cent, as published.
        chosen: what chose the epoch, and the learning rate if it falls by a measurement.
        views: the views of a test image that are averaged.
        source: where the code or the paper is.
    """

    who: str
    accuracy: float
    chosen: str
    views: str
    honest: bool
    source: str


PUBLISHED = (
    Published(
        "Pramerdorfer and Kampel, one VGG", 72.7, "PublicTest", "ten crops", True, "https://arxiv.org/abs/1612.02903"
    ),
    Published(
        "Pramerdorfer and Kampel, eight networks", 75.2, "PublicTest", "ten crops", True,
        "https://arxiv.org/abs/1612.02903",
    ),
    Published(
        "VGG19 of Facial-Expression-Recognition.Pytorch", 73.11, "PrivateTest", "ten crops of 44", False,
        "https://github.com/WuJie1010/Facial-Expression-Recognition.Pytorch",
    ),
    Published(
        "Khaireddin and Chen, one VGG", 73.28, "PrivateTest, called validation in the code", "ten crops of 40", False,
        "https://github.com/usef-kh/fer",
    ),
    Published(
        "ResNet18 of Fer2013-Facial-Emotion-Recognition-Pytorch", 73.70,
        "PrivateTest, called validation in the code", "ten crops of 40", False,
        "https://github.com/LetheSec/Fer2013-Facial-Emotion-Recognition-Pytorch",
    ),
)  # fmt: skip
"""What the public code does, read in November 2026. All train on the 28,709 images of Training."""
