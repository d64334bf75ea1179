"""Measures what one image costs on the CPU, in a process of its own: a few seconds before a sweep.

    python -m fer_tune.train.estimate '{"family": …, "params": {…}, "spec": {…}, "threads": 1}'

It prints the seconds that forward and backward take for one image.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch

from fer_tune.data.spec import DataSpec
from fer_tune.models.layers import initialise
from fer_tune.train.config import configurations, seen

IMAGES = 4
"""Images in a measured step. Two steps of the slowest family take a few seconds on one core."""


def seconds_for_an_image(family: str, params: dict[str, Any], spec: DataSpec, threads: int) -> float:
    """Returns the seconds of forward and backward for one image, in the second of two steps.

    Raises:
        TrainingError: the hyperparameters do not fit the family.
    """
    torch.set_num_threads(threads)
    built, shape, config = configurations(family, params)
    spec = seen(spec, config)
    network = built.build(shape, spec)
    initialise(network)
    images = torch.randn(IMAGES, spec.channels, spec.side, spec.side)
    began = 0.0
    for _ in range(2):
        began = time.perf_counter()
        network(images).sum().backward()
    return (time.perf_counter() - began) / IMAGES


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    spec = DataSpec.from_dict(asked["spec"])
    print(seconds_for_an_image(asked["family"], asked["params"], spec, int(asked["threads"])))
