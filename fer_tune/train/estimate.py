"""Measures what one image costs on the CPU, in a process of its own: a few seconds before a sweep.

    python -m fer_tune.train.estimate \\
        '{"family": …, "params": {…}, "spec": {…}, "images": 32, "threads": 1}'

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


def seconds_for_an_image(family: str, params: dict[str, Any], spec: DataSpec, count: int, threads: int) -> float:
    """Returns the seconds of forward and backward for one image, in the faster of two steps.

    Args:
        count: images in a step.

    Raises:
        TrainingError: the hyperparameters do not fit the family.
    """
    torch.set_num_threads(threads)
    built, shape, config = configurations(family, params)
    spec = seen(spec, config)
    network = built.build(shape, spec)
    initialise(network)
    images = torch.randn(count, spec.channels, spec.side, spec.side)
    steps = []
    for _ in range(2):
        began = time.perf_counter()
        network(images).sum().backward()
        steps.append(time.perf_counter() - began)
    return min(steps) / count


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    spec = DataSpec.from_dict(asked["spec"])
    print(seconds_for_an_image(asked["family"], asked["params"], spec, int(asked["images"]), int(asked["threads"])))
