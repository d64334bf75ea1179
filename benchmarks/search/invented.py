"""Invented learning curves, for tests and for the time before real ones are collected.

The formula has the orders of magnitude of the real families: most hyperparameters matter little,
an annealed schedule gains late, and seeds differ by some tenths of a point. A figure that comes
from these curves says nothing about the search on real images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from benchmarks.search.curves import Curve, Curves, Floats
from fer_tune.job import Value
from fer_tune.sweep import Sweep
from fer_tune.sweep.space import Choice, Domain, Fixed, Range, Space

BEST_RATE = {"sgd": 0.05, "adam": 1e-3, "adamw": 1e-3, "muon": 2e-3}
SLOWER = {"muon": 0.0, "sgd": 0.8, "adamw": 1.2, "adam": 1.8}
SCHEDULES = {"cosine": 0.0, "onecycle": 0.4, "constant": 1.8}
HILLS = {  # the best value, and the points that a distance of 1 costs
    "self_distillation": (0.6, 2.0),
    "head_dropout": (0.25, 8.0),
    "head_dropout2": (0.0, 4.0),
    "block_dropout": (0.0, 60.0),
    "block_dropout_step": (0.0, 100.0),
    "augment": (0.45, 8.0),
    "mixup": (0.25, 6.0),
    "cutmix": (0.0, 6.0),
    "label_smoothing": (0.1, 40.0),
}
STEPS = 20_000


def invent(sweep: Sweep, count: int, repeats: int = 8, seed: int = 0) -> Curves:
    """Returns invented curves of random configurations, and of the first start configuration."""
    draw = np.random.default_rng(seed)
    curves = Curves(sweep.family, sweep.budget.epochs)
    chosen = [(random_configuration(sweep.space, draw), False) for _ in range(count)]
    chosen += [(dict(sweep.start[0].params), True)] * repeats if sweep.start else []
    found = [
        Curve(params, index, "complete", repeat, 0.1, 0, _rows(params, sweep.budget.epochs, draw))
        for index, (params, repeat) in enumerate(chosen)
    ]
    curves.add({"invented": True, "concurrency": 1.0, "seed": seed}, found)
    return curves


def random_configuration(space: Space, draw: np.random.Generator) -> dict[str, Value]:
    """Returns a configuration that is drawn evenly from the space."""
    params: dict[str, Value] = {}
    for parameter in space.values():
        if not parameter.active(params):
            continue
        params[parameter.name] = drawn(parameter.domain, draw)
    return params


def drawn(domain: Domain, draw: np.random.Generator) -> Value:
    """Returns a value that is drawn evenly from a domain."""
    if isinstance(domain, Fixed):
        return domain.value
    if isinstance(domain, Choice):
        return domain.choices[draw.integers(len(domain.choices))]
    return _within(domain, draw.random())


def _within(domain: Range, share: float) -> Value:
    if domain.log:
        value = math.exp(math.log(domain.low) + share * (math.log(domain.high) - math.log(domain.low)))
    else:
        value = domain.low + share * (domain.high - domain.low)
    if domain.step is not None:
        value = domain.low + round((value - domain.low) / domain.step) * domain.step
    return round(value) if domain.integer else value


def final_accuracy(params: Mapping[str, Value]) -> float:
    """Returns the accuracy after the whole schedule, without noise."""
    optimizer = str(params.get("optimizer", "adam"))
    distance = math.log10(float(params.get("lr", BEST_RATE[optimizer])) / BEST_RATE[optimizer])
    lost = SLOWER[optimizer] + 4.0 * distance**2 + SCHEDULES[str(params.get("schedule", "cosine"))]
    lost += 0.8 * math.exp(-float(params.get("ema", 0.0)) * 3)
    for name, (best, slope) in HILLS.items():
        lost += slope * (float(params.get(name, best)) - best) ** 2
    if (sampling := params.get("sampling", "natural")) != "natural":
        power = params.get("sampling_power", 0.5)
        power = {"sqrt": 0.5, "inverse": 1.0}.get(str(power), 0.5) if isinstance(power, str) else float(power)
        lost += (1.5 if sampling == "weighted" else 0.8) + 4.0 * power**2
    if params.get("hidden_norm") is False:
        lost += 12.0 if optimizer == "sgd" and distance > 0 else 1.0
    return max(0.25, 0.66 - lost / 100)


def _rows(params: Mapping[str, Value], epochs: int, draw: np.random.Generator) -> Floats:
    """Returns the curve of one training: [epochs, measures]."""
    epoch = np.arange(1, epochs + 1)
    final, schedule = final_accuracy(params), params.get("schedule", "cosine")
    slowness = 3.0 + 3.0 * float(params.get("augment", 0.0)) + 3.0 * float(params.get("mixup", 0.0))
    late = 0.0 if schedule == "constant" else 0.05 * (1 + np.cos(math.pi * epoch / epochs)) / 2
    mean = 0.25 + (final - 0.25) * (1 - np.exp(-epoch / slowness)) - late * (final > 0.3)
    rough = 0.002 + 0.006 * (float(params.get("ema", 0.0)) == 0.0) * (schedule == "constant")
    accuracy = mean + draw.normal(0, 0.0025) + rough * draw.normal(size=epochs)
    train = np.minimum(0.99, mean + 0.15 * epoch / epochs * (1 - float(params.get("augment", 0.0))))
    seconds = (
        STEPS / (2_000.0 * float(params.get("batch_size", 128)) ** 0.9) * (float(params.get("width", 1)) / 64 + 0.4)
    )
    return np.stack([accuracy, 2.2 - 1.8 * accuracy, 2.2 - 1.8 * train, train, np.full(epochs, seconds)], axis=1)
