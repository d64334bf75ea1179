"""The searches that a comparison plays: which search, from where, with how many slots and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.invented import random_configuration
from benchmarks.search.simulator import Simulator
from fer_tune.errors import SettingsError
from fer_tune.sweep import Sweep, load_sweep
from fer_tune.sweep.schema import Start

OURS = "fer-tune"
"""How the names of our own searches begin: `fer-tune`, or `fer-tune NAME` for a variant."""

NOTHING, RECIPE, WRONG = "nothing", "the recipe", "a wrong prior"
"""Where a search begins. The recipe is the first start configuration of the shipped sweep."""

WORST_OF = 100
"""A wrong prior is the worst of so many random configurations."""


@dataclass(frozen=True)
class Case:
    """One search to play.

    Attributes:
        rival: its name.
        slots: trainings at a time. Eight share one device, as lanes do.
        seconds: of the simulation.
        own: whether the search's own processor time counts.
        family: whose curves are played.
        begin: `NOTHING`, `RECIPE`, `WRONG`, or the name of a start configuration.
    """

    rival: str
    slots: int
    seed: int
    seconds: float
    own: bool = True
    family: str = ""
    begin: str = NOTHING

    @property
    def key(self) -> str:
        """Identifies the case in a part of the results."""
        return f"{self.rival}/{self.slots}/{self.seed}"

    @property
    def part(self) -> str:
        """The part of the results that it belongs to."""
        return self.family if self.begin == NOTHING else f"{self.family} from {self.begin}"

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields, for a process that plays the case."""
        return asdict(self)


@dataclass(frozen=True)
class Arm:
    """What a comparison plays for each family, seed and number of slots.

    Attributes:
        rival: the name of the search.
        begin: see `Case`.
        longest: seconds that are played, in budgets. They give the shorter budgets too.
        together: the same with several slots, if that is less. There are then more results in the
            same time, and some searches need longer for each than the training does.
    """

    rival: str
    begin: str = NOTHING
    longest: float = 4.0
    together: float = 4.0

    def budgets(self, slots: int) -> float:
        """Returns the budgets that are played with so many slots."""
        return self.longest if slots == 1 else min(self.longest, self.together)


def cases(
    arms: Sequence[Arm], budgets: Mapping[str, float], slots: Sequence[int], seeds: int, own: bool = True
) -> list[Case]:
    """Returns all cases, the first seed of every arm before the second one of any.

    So a comparison that is cut off has as many seeds of each arm. Within a seed, the searches with
    more slots come first, because they take longest.

    Args:
        budgets: seconds of budget 1, by family.
    """
    return [
        Case(arm.rival, count, seed, arm.budgets(count) * budget, own, family, arm.begin)
        for seed in range(seeds)
        for count in sorted(slots, reverse=True)
        for arm in arms
        for family, budget in budgets.items()
    ]


def our_sweeps(
    path: Path,
    variants: Sequence[str],
    begin: str = NOTHING,
    simulator: Simulator | None = None,
    epochs: int | None = None,
) -> dict[str, Sweep]:
    """Returns our sweep and its variants by name.

    Args:
        variants: each is `NAME; key=value; ...`, as `--set` takes the values.
        begin: see `Case`.
        simulator: says which configuration is a wrong one; needed for `WRONG` only.
        epochs: of the schedule; by default the sweep's.

    Raises:
        SettingsError: the sweep has no start configuration of this name.
    """
    schedule = [] if epochs is None else [f"budget.epochs={epochs}"]
    found = {OURS: load_sweep(path, schedule)}
    for variant in variants:
        name, *changes = [word.strip() for word in variant.split(";")]
        found[f"{OURS} {name}"] = load_sweep(path, [*schedule, *changes])
    return {name: replace(sweep, start=_start(sweep, path, begin, simulator)) for name, sweep in found.items()}


def _start(sweep: Sweep, path: Path, begin: str, simulator: Simulator | None) -> tuple[Start, ...]:
    """Returns the start configurations with which a search begins."""
    if begin == NOTHING:
        return ()
    if begin == RECIPE and sweep.start:
        return sweep.start[:1]
    if begin == WRONG and simulator is not None:
        return (Start("wrong", worst(sweep, simulator)),)
    kept = tuple(one for one in sweep.start if one.name == begin)
    if not kept:
        names = ", ".join(str(one.name) for one in sweep.start)
        raise SettingsError(f"{path.name} has no start configuration {begin!r}.", f"It has {names}.")
    return kept


def worst(sweep: Sweep, simulator: Simulator) -> dict[str, Any]:
    """Returns the worst of some random configurations: always the same one."""
    draw = np.random.default_rng(0)
    drawn = [random_configuration(sweep.space, draw) for _ in range(WORST_OF)]
    return min(drawn, key=simulator.true_value)
