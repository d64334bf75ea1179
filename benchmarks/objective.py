"""Measures which objective of a training predicts fresh seeds best, on recorded curves.

    python -m benchmarks.objective --out benchmarks/results/objective.json

`objective_of` in a sweep says which epochs decide a trial's value: the best one, the last one, or
the mean of the last few. A good rule has little noise between seeds beside the differences of
configurations, and predicts what a training under another seed ends with. The curves are those of
`benchmarks/curves/` (see `benchmarks.search.collect`): many configurations once, and one under
several seeds. Records in `benchmarks/results/` have further configurations under several seeds.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.circumstances import commit, today
from benchmarks.search.curves import FOLDER, Curves
from benchmarks.tables import RESULTS, markdown, record
from fer_tune.selection.objective import objective_of

LONG = 80
"""Epochs of an ablation that counts. Shorter ones were not repeated."""

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


def measure(once: Sequence[Floats], groups: Sequence[Sequence[Floats]]) -> dict[str, Any]:
    """Returns the figures of each rule.

    Args:
        once: curves of the objective, of configurations that were trained once.
        groups: curves of configurations that were trained under several seeds, for each of them.

    Returns:
        For each rule: `noise`, the deviation between seeds of one configuration; `flattery`, how
        much the rule is above the last epoch; `error`, the deviation between the rule under one
        seed and the last epoch under another, without the flattery; `spread`, the deviation between
        the better half of the configurations; `correlation` with a value without noise, as noise
        and spread imply; `rank`, the rank correlation with the last epoch of other seeds. What the
        curves cannot say is nan.
    """
    last = RULES["last"]
    half = float(np.median([last(curve.tolist()) for curve in once])) if once else 0.0
    found = {}
    for name, rule in RULES.items():
        values = [np.array([rule(curve.tolist()) for curve in group]) for group in groups]
        ends = [np.array([last(curve.tolist()) for curve in group]) for group in groups]
        degrees = sum(len(some) - 1 for some in values)
        squares = sum(float(((some - some.mean()) ** 2).sum()) for some in values)
        noise = math.sqrt(squares / degrees) if degrees else math.nan
        flattery = float(np.concatenate(values).mean() - np.concatenate(ends).mean()) if values else math.nan
        good = [rule(curve.tolist()) for curve in once if last(curve.tolist()) >= half]
        spread = float(np.std(good, ddof=1)) if len(good) > 1 else math.nan
        found[name] = {
            "noise": noise,
            "flattery": flattery,
            "error": _error(values, ends, flattery),
            "spread": spread,
            "correlation": math.sqrt(max(0.0, 1 - (noise / spread) ** 2)) if spread > 0 else math.nan,
            "rank": _rank(values, ends),
        }
    return found


def _error(values: Sequence[Floats], ends: Sequence[Floats], flattery: float) -> float:
    """Returns how far a rule under one seed is from the last epoch under another."""
    gaps = [
        (values[group][one] - flattery - ends[group][other]) ** 2
        for group in range(len(values))
        for one in range(len(values[group]))
        for other in range(len(values[group]))
        if one != other
    ]
    return math.sqrt(math.fsum(gaps) / len(gaps)) if gaps else math.nan


def _rank(values: Sequence[Floats], ends: Sequence[Floats]) -> float:
    """Returns the rank correlation of a rule under one seed with the last epoch of the others."""
    several = [place for place, some in enumerate(values) if len(some) > 1]
    if len(several) < 3:
        return math.nan
    here = [float(values[place][0]) for place in several]
    there = [float(ends[place][1:].mean()) for place in several]
    return float(stats.spearmanr(here, there).statistic)


def of_family(curves: Curves) -> dict[str, Any]:
    """Returns the figures of one family's curves."""
    groups: dict[str, list[Floats]] = defaultdict(list)
    for curve in (*curves.whole(repeat=False), *curves.whole(repeat=True)):
        groups[json.dumps(curve.params, sort_keys=True)].append(curve.rows[:, 0])
    once = [group[0] for group in groups.values() if len(group) == 1]
    several = [group for group in groups.values() if len(group) > 1]
    return {
        "configurations": len(groups),
        "seeds": sum(map(len, several)),
        "epochs": curves.epochs,
        "rules": measure(once, several),
    }


def of_records(folder: Path) -> dict[str, Any]:
    """Returns the figures of recorded trainings under several seeds.

    `ablations` are vgg and resnet with a falling rate, for 90 epochs or more. `by hand` are the
    experiments by hand and variants of them, with a constant rate.
    """
    groups: dict[str, dict[str, dict[int, Floats]]] = {"ablations": {}, "by hand": {}}
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for run in content.get("runs", []) if isinstance(content, dict) else []:
            if isinstance(run, dict) and len(run.get("curve") or []) >= LONG:
                key = json.dumps([content["benchmark"], run["family"], run["changes"], run["epochs"]])
                values = np.array(run["curve"], np.float64)
                groups["ablations"].setdefault(f"{path.name} {key}", {}).setdefault(run["seed"], values)
        for one in content.get("experiments", []) if isinstance(content, dict) else []:
            key = json.dumps([one["family"], one["params"], one["epochs"]], sort_keys=True)
            for run in one["runs"]:
                values = np.array(run["curve"], np.float64)[:, 1] / 100
                groups["by hand"].setdefault(key, {}).setdefault(run["seed"], values)
    found = {}
    for name, some in groups.items():
        several = [list(seeds.values()) for seeds in some.values() if len(seeds) > 1]
        trainings = sum(map(len, several))
        found[name] = {"configurations": len(several), "seeds": trainings, "rules": measure([], several)}
    return found


def objectives() -> str:
    """Returns the table of the rules, from the record, in points."""
    headings = ["curves", "configurations", "trainings under several seeds", "rule", "noise", "flattery", "error"]
    rows = []
    for name, one in record("objective.json")["curves"].items():
        least = min(figures["error"] for figures in one["rules"].values())
        for rule, figures in one["rules"].items():
            noise, flattery, error = (f"{100 * figures[key]:.2f}" for key in ("noise", "flattery", "error"))
            error = f"**{error}**" if figures["error"] == least else error
            about = [name, str(one["configurations"]), str(one["seeds"])] if rule == "max" else ["", "", ""]
            rows.append([*about, rule, noise, flattery, error])
    return markdown(headings, rows)


def main() -> None:
    """Prints a table for each family, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=Path, default=FOLDER, help="folder of the curves' files")
    parser.add_argument("--records", type=Path, default=RESULTS, help="folder of recorded trainings")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    for path in sorted(given.curves.glob("*.npz")):
        curves = Curves.load(path)
        found[curves.family] = of_family(curves)
    found |= of_records(given.records)
    for family, one in found.items():
        print(family, {key: value for key, value in one.items() if key != "rules"})
        for name, figures in one["rules"].items():
            print(f"  {name:15}", "  ".join(f"{key} {value:.4f}" for key, value in figures.items()))
    if given.out:
        content = {"date": today(), "commit": commit(), "curves": _plain(found)}
        given.out.write_text(json.dumps(content, indent=2) + "\n")


def _plain(value: Any) -> Any:
    """Returns a value for JSON, rounded, with None in place of nan."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return (None if math.isnan(value) else round(value, 6)) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
