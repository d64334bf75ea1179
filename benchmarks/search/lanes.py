"""How much slower an epoch is if several trainings share one GPU."""

from __future__ import annotations

import math

GAIN = {"simple_cnn": 2.52, "deep_cnn": 2.19, "vgg": 1.49, "resnet": 1.32}
"""How many times more images a second eight lanes of one H100 train than one, at batch 64."""

OTHERS = 1.5
"""The same, assumed for a family that was not measured."""


def slowness(family: str, lanes: float) -> float:
    """Returns how many times longer an epoch takes if so many lanes share a device.

    Eight lanes were measured. Between one and eight the gain is taken to grow with the logarithm.
    """
    gain = math.pow(GAIN.get(family, OTHERS), min(1.0, math.log2(max(1.0, lanes)) / 3))
    return max(1.0, lanes) / gain
