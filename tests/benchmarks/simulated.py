"""A small search space, invented curves of it, and a simulator that is fitted in a second."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from benchmarks.search.invented import invent
from benchmarks.search.simulator import Simulator
from fer_tune.sweep import Sweep
from fer_tune.sweep.load import loads_sweep

SMALL = """\
family: simple_cnn
data: demo
sampler: {name: random}
pruner: {name: none}
budget: {trials: 9, epochs: 8}
patience: 0
params:
  optimizer: {choices: [muon, sgd]}
  lr:
    - {low: 1.0e-2, high: 0.3, log: true, when: {optimizer: sgd}}
    - {low: 5.0e-4, high: 8.0e-3, log: true, when: {optimizer: muon}}
  augment: {low: 0.0, high: 1.0}
  batch_size: {choices: [64, 256]}
  schedule: {choices: [constant, cosine]}
start:
  - {name: first, optimizer: muon, lr: 2.0e-3, augment: 0.45, batch_size: 64, schedule: cosine}
"""


def small(*changes: str) -> Sweep:
    """Returns the small sweep, with changes as `--set` takes them."""
    return loads_sweep(SMALL, Path("small.yaml"), changes)


@cache
def simulator() -> Simulator:
    """Returns the simulator of the small sweep, fitted once for all tests."""
    return Simulator(invent(small(), 60), small().space, "gaussian process")
