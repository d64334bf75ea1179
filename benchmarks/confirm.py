"""Measures by simulation how often `fer-tune confirm` names a sole winner among equals.

    python -m benchmarks.confirm --studies 2000 --out benchmarks/results/confirm.json

A simulated study has candidates with the same true accuracy. Each has images that it is good and
bad at, and each training has its own noise, on single images and as a whole. The search takes the
best of many trials on the same validation images. Their confirmations then run through the
product's own `selection.race`.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.circumstances import commit, today, versions
from fer_tune.selection.race import FIRST_LOOK, SeedResult, race
from fer_tune.selection.statistics import wilson


@dataclass(frozen=True)
class World:
    """A simulated study. The defaults are like FER2013's on resnet.

    Attributes:
        trials: number of trials of the search, of which the best `top` are confirmed.
        seeds: number of new seeds for each.
        images: number of validation images.
        accuracy: true accuracy of all trials.
        seed_deviation: deviation of a training's accuracy beyond the noise of single images.
        differing: variance of a configuration's own view of the images, where their difficulty has
            variance 1.
        flickering: variance of a training's noise on single images. With 0.15, two seeds of one
            configuration differ on about 15 % of the images.
        better: how much better the first trial truly is.
    """

    trials: int = 30
    top: int = 5
    seeds: int = 3
    images: int = 4306
    accuracy: float = 0.69
    seed_deviation: float = 0.004
    differing: float = 0.08
    flickering: float = 0.15
    better: float = 0.0


@dataclass(frozen=True)
class Played:
    """One simulated study: whether a sole winner was named, which, and the trainings it took."""

    winner: int | None
    first_leads: bool
    trainings: int


def play(world: World, random: np.random.Generator) -> Played:
    """Plays one study."""
    difficulty = _difficulty(world, random)
    latent = difficulty + math.sqrt(world.differing) * random.standard_normal((world.trials, world.images))

    def train(trial: int) -> SeedResult:
        noise = math.sqrt(world.flickering) * random.standard_normal(world.images)
        shift = world.seed_deviation * random.standard_normal() + world.better * (trial == 0)
        right = (latent[trial] + noise + shift * _PER_POINT > 0).astype(np.float32)
        return SeedResult(float(right.mean()), right)

    searched = [train(trial).value for trial in range(world.trials)]
    chosen = sorted(range(world.trials), key=lambda trial: -searched[trial])[: world.top]
    if world.better and 0 not in chosen:
        chosen[-1] = 0
    runs: dict[int, list[SeedResult]] = {trial: [] for trial in chosen}
    state = race(runs, world.seeds, world.images)
    while state.racing:
        for trial in state.racing:
            runs[trial].append(train(trial))
        state = race(runs, world.seeds, world.images)
    return Played(state.winner, state.places[0].candidate == 0, sum(map(len, runs.values())))


_PER_POINT = 4.0
"""A shift of all latent values by this much times a small share changes about that share of
answers: the density of the latent values at 0 is about a quarter."""


def _difficulty(world: World, random: np.random.Generator) -> NDArray[np.float64]:
    """Returns how easy each image is; the share above 0 is the accuracy."""
    from statistics import NormalDist

    spread = math.sqrt(1 + world.differing + world.flickering)
    return random.standard_normal(world.images) + spread * NormalDist().inv_cdf(world.accuracy)


def measure(world: World, studies: int, seed: int = 0) -> dict[str, Any]:
    """Plays many studies. Returns how often a sole winner was named, and what racing saved."""
    random = np.random.default_rng(seed)
    played = [play(world, random) for _ in range(studies)]
    named = sum(one.winner is not None for one in played)
    right = sum(one.winner == 0 for one in played)
    interval = wilson(named, studies)
    whole = world.top * world.seeds
    return {
        **asdict(world),
        "studies": studies,
        "looks": max(0, world.seeds - FIRST_LOOK + 1),
        "named": named / studies,
        "named_interval": [interval.low, interval.high],
        "named_the_better_one": right / studies if world.better else None,
        "saved": 1 - sum(one.trainings for one in played) / (studies * whole),
    }


WORLDS = (
    World(trials=2, top=2),
    World(trials=2, top=2, seeds=2),
    World(trials=2, top=2, seeds=5),
    World(top=2),
    World(),
    World(top=10),
    World(seeds=2),
    World(seeds=5),
    World(top=2, seeds=2),
    World(top=2, seeds=5),
    World(seed_deviation=0.0),
    World(seed_deviation=0.01),
    World(differing=0.0),
    World(images=500),
    World(better=0.01),
    World(better=0.02),
    World(better=0.03),
)
"""Worlds of equals, and three in which one candidate is better. In the first three there is no
search before: they are the hardest, and are played four times as often."""


def main() -> None:
    """Plays all worlds, prints a line for each, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = []
    for world in WORLDS:
        often = 4 if world.trials == world.top else 1  # without a search's choice, the gap is largest
        found.append(measure(world, often * given.studies))
        print(json.dumps({key: value for key, value in found[-1].items() if key != "images" or value != 4306}))
    if given.out:
        record = {"date": today(), "commit": commit(), "versions": versions("numpy", "scipy"), "worlds": found}
        given.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
