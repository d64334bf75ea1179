"""Measures how long a network needs for an image on the CPU.

`python -m fer_tune.train.estimate` reads `family`, `params` and `spec` as JSON from standard input,
and prints the seconds. The orchestrator, which does not import torch, starts it as a process.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from torch.nn import functional

from fer_tune.data.spec import DataSpec
from fer_tune.job import Value
from fer_tune.train.config import configurations

IMAGES = 4
"""Images of a measured step. Large networks need seconds for it on one busy core."""

LONG = 1.0
"""A step of so many seconds is not repeated."""


def seconds_per_image(family: str, params: dict[str, Value], spec: DataSpec) -> float:
    """Returns the seconds of a forward and a backward pass, for one image."""
    kind, config, _ = configurations(family, params)
    model = kind.build(config, spec).train()
    images = torch.rand(IMAGES, spec.channels, spec.side, spec.side)
    labels = torch.zeros(IMAGES, dtype=torch.int64)
    seconds = _step(model, images, labels)
    if seconds < LONG:  # the first step also pays for memory and for the choice of algorithms
        seconds = _step(model, images, labels)
    return seconds / IMAGES


def _step(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    began = time.perf_counter()
    torch.autograd.backward(functional.cross_entropy(model(images), labels))
    return time.perf_counter() - began


if __name__ == "__main__":
    given = json.load(sys.stdin)
    print(seconds_per_image(given["family"], given["params"], DataSpec.from_dict(given["spec"])))
