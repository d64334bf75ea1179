"""Says how well a few configurations tell what an epoch of a family costs on average.

    python -m benchmarks.search.probe_cost

A model of costs learns from all curves of a family, and is then taken for the truth, with the
scatter that it leaves. Twelve configurations are drawn many times, at random and evenly, as a probe
does. Another model learns from these twelve, and its mean prediction for others is compared with
their true mean.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.search.curves import FOLDER, MEASURES, SWEEPS, Curves
from fer_tune.job import Value
from fer_tune.selection import epoch_cost
from fer_tune.selection.epoch_cost import EpochCost
from fer_tune.sources.probed_pace import PROBES
from fer_tune.study.configurations import Cube, Floats
from fer_tune.sweep import load_sweep
from fer_tune.sweep.catalogue import defaults
from fer_tune.sweep.space import fixed_values, named

OTHERS = 200
"""Configurations whose mean cost is predicted."""

EPOCHS = 8
"""The measured cost of a configuration is the median of its first epochs."""


@dataclass(frozen=True)
class Truth:
    """What configurations of a family cost.

    Attributes:
        measured: configurations from which this was learned.
        shared: hyperparameters that all configurations of the sweep share.
    """

    cube: Cube
    cost: EpochCost
    measured: int
    shared: dict[str, Value]

    @classmethod
    def of(cls, family: str) -> Truth:
        """Learns from the random configurations of a family's curves."""
        curves, sweep = Curves.load(FOLDER / f"{family}.npz"), load_sweep(SWEEPS / f"{family}.yaml")
        random = [curve for curve in curves.whole(repeat=False) if curves.kind(curve) == "random"]
        logs = np.log([np.median(curve.rows[:EPOCHS, MEASURES.index("seconds")]) for curve in random])
        chunks = np.array([curve.chunk for curve in random])
        for chunk in set(chunks.tolist()):  # the machines differ
            logs[chunks == chunk] -= logs[chunks == chunk].mean()
        shared = defaults(family)
        cost = epoch_cost.fit([{**shared, **curve.params} for curve in random], np.exp(logs).tolist())
        return cls(Cube(sweep.space), cost, len(random), shared | fixed_values(sweep.space))

    def params(self, points: Floats) -> list[dict[str, Value]]:
        """Returns the configurations at points [N, P]."""
        return [self.shared | named(self.cube.configuration(point)) for point in points]

    def error(self, points: Floats, random: np.random.Generator) -> float:
        """Returns the logarithm of the predicted mean cost over the true one.

        Args:
            points: [N, P] of the configurations that are measured.
        """
        probed, others = self.params(points), self.params(self.cube.draw(OTHERS, random))
        seconds = [self.cost.seconds(one, float(random.choice(self.cost.left))) for one in probed]
        learned = epoch_cost.fit(probed, seconds)
        predicted = np.mean([learned.seconds(one) for one in others]) * np.mean(np.exp(learned.left))
        true = np.mean([self.cost.seconds(one) for one in others]) * np.mean(np.exp(self.cost.left))
        return math.log(float(predicted / true))


def deviations(truth: Truth, repeats: int, seed: int = 0) -> tuple[float, float]:
    """Returns the standard deviation of the error with random draws, and with even ones."""
    random = np.random.default_rng(seed)
    loose = [truth.error(truth.cube.draw(PROBES, random), random) for _ in range(repeats)]
    even = [truth.error(truth.cube.stratified(PROBES, random), random) for _ in range(repeats)]
    return float(np.std(loose)), float(np.std(even))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints one line for each family."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--family", default="deep_cnn,simple_cnn", help="of several, with commas")
    made.add_argument("--repeats", type=int, default=400)
    options = made.parse_args(arguments)
    for family in options.family.split(","):
        truth = Truth.of(family)
        loose, even = deviations(truth, options.repeats)
        print(f"{family}, learned from {truth.measured} configurations: {PROBES} of them tell", end=" ")
        print(f"the mean cost to {loose:.1%} if they are drawn at random, and to {even:.1%} if evenly.")


if __name__ == "__main__":
    main()
