"""Measures which objective of a training predicts fresh seeds best, on recorded curves.

    python -m benchmarks.objective --out benchmarks/results/objective.json

`objective_of` in a sweep says which epochs decide a trial's value: the best one, the last one, or
the mean of the last few. A good rule has little noise between seeds beside the differences of
configurations. The curves are those of `benchmarks/curves/` (see `benchmarks.search.collect`):
many configurations once, and one configuration under several seeds.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.circumstances import commit, today
from benchmarks.search.curves import FOLDER, Curves
from fer_tune.selection.objective import objective_of

Floats = NDArray[np.float64]
Rule = Callable[[Sequence[float]], float]

RULES: dict[str, Rule] = {
    "max": lambda values: objective_of(values, "max") or 0.0,
    "last": lambda values: objective_of(values, "last") or 0.0,
    **{
        f"mean of last {count}": lambda values, count=count: objective_of(values, "mean_last", count) or 0.0  # type: ignore[misc]
        for count in (2, 3, 5, 8)
    },
}


def measure(once: Sequence[Floats], repeats: Sequence[Floats], pairs: Sequence[Sequence[Floats]]) -> dict[str, Any]:
    """Returns the figures of each rule.

    Args:
        once: curves of the objective, of configurations that were trained once.
        repeats: curves of one configuration under several seeds.
        pairs: curves of configurations that were trained under several seeds, for each of them.

    Returns:
        For each rule: `noise`, the deviation between seeds; `flattery`, how much it is above the
        last epoch of fresh seeds; `spread`, the deviation between the better half of the
        configurations; `correlation` with a value without noise, as noise and spread imply; `rank`,
        the rank correlation with the last epoch of another seed, where there are pairs.
    """
    last = RULES["last"]
    ends = [float(np.mean([last(curve.tolist()) for curve in group])) for group in (*([c] for c in once), *pairs)]
    half = float(np.median(ends)) if ends else 0.0
    found = {}
    for name, rule in RULES.items():
        seeds = [rule(curve.tolist()) for curve in repeats]
        good = [rule(curve.tolist()) for curve in once if last(curve.tolist()) >= half]
        noise = float(np.std(seeds, ddof=1)) if len(seeds) > 1 else math.nan
        spread = float(np.std(good, ddof=1)) if len(good) > 1 else math.nan
        found[name] = {
            "noise": noise,
            "flattery": float(np.mean(seeds) - np.mean([last(curve.tolist()) for curve in repeats]))
            if seeds
            else math.nan,
            "spread": spread,
            "correlation": math.sqrt(max(0.0, 1 - (noise / spread) ** 2)) if spread > 0 else math.nan,
            "rank": _rank(pairs, rule),
        }
    return found


def _rank(pairs: Sequence[Sequence[Floats]], rule: Rule) -> float:
    """Returns the rank correlation of a rule under one seed with the last epoch of the others."""
    several = [group for group in pairs if len(group) > 1]
    if len(several) < 3:
        return math.nan
    here = [rule(group[0].tolist()) for group in several]
    there = [float(np.mean([RULES["last"](curve.tolist()) for curve in group[1:]])) for group in several]
    return float(stats.spearmanr(here, there).statistic)


def of_family(curves: Curves) -> dict[str, Any]:
    """Returns the figures of one family's curves."""

    def values(some: Iterable[Any]) -> list[Floats]:
        return [curve.rows[:, 0] for curve in some]

    groups: dict[str, list[Floats]] = defaultdict(list)
    for curve in curves.whole(repeat=False):
        groups[json.dumps(curve.params, sort_keys=True)].append(curve.rows[:, 0])
    once = [group[0] for group in groups.values() if len(group) == 1]
    repeats = values(curves.whole(repeat=True))
    pairs = [group for group in groups.values() if len(group) > 1]
    return {
        "configurations": len(groups),
        "seeds": len(repeats),
        "epochs": curves.epochs,
        "rules": measure(once, repeats, pairs),
    }


def main() -> None:
    """Prints a table for each family, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=Path, default=FOLDER, help="folder of the curves' files")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = {}
    for path in sorted(given.curves.glob("*.npz")):
        curves = Curves.load(path)
        found[curves.family] = of_family(curves)
        print(curves.family, {key: value for key, value in found[curves.family].items() if key != "rules"})
        for name, figures in found[curves.family]["rules"].items():
            print(f"  {name:15}", "  ".join(f"{key} {value:.4f}" for key, value in figures.items()))
    if given.out:
        record = {"date": today(), "commit": commit(), "families": found}
        given.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
