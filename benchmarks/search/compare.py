"""Compares searches: values at each budget, ranks, and the time to a common target."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""The budgets, in shipped budgets."""

REFERENCE = "tpe+median"
"""The search whose value at budget 1 is the target of the others."""

Run = dict[str, Any]


def value_at(run: Run, time: float) -> float:
    """Returns the true value of a run's incumbent at a time; 0 before the first epoch."""
    index = bisect_right(run["times"], time)
    return float(run["true"][index - 1]) if index else 0.0


def by_rival(runs: dict[str, Run], slots: int) -> dict[str, dict[int, Run]]:
    """Returns the runs with so many slots, by rival and seed."""
    found: dict[str, dict[int, Run]] = {}
    for key, run in runs.items():
        rival, with_slots, seed = key.rsplit("/", 2)
        if int(with_slots) == slots:
            found.setdefault(rival, {})[int(seed)] = run
    return found


def compare(
    runs: dict[str, Run],
    budget: float,
    factors: Sequence[float] = FACTORS,
    goals: Mapping[str, float | None] | None = None,
) -> dict[str, Any]:
    """Returns the comparison by number of slots.

    A search that costs too much is played for the smaller budgets only. It is compared at those.

    Args:
        budget: seconds of budget 1.
        goals: the target by number of slots, for searches that begin with a prior. By default it is
            what `REFERENCE` reaches at budget 1.
    """
    slots = sorted({int(key.rsplit("/", 2)[1]) for key in runs})
    return {
        str(count): _compare(by_rival(runs, count), budget, factors, None if goals is None else goals.get(str(count)))
        for count in slots
    }


def _compare(
    rivals: dict[str, dict[int, Run]], budget: float, factors: Sequence[float], goal: float | None
) -> dict[str, Any]:
    played = {rival: _played(runs, budget, factors) for rival, runs in rivals.items()}
    factors = sorted({factor for found in played.values() for factor in found})
    values = {
        rival: [[value_at(rivals[rival][seed], factor * budget) for seed in seeds] for factor, seeds in found.items()]
        for rival, found in played.items()
    }
    medians = {rival: np.array([np.median(at) for at in found]) for rival, found in values.items()}
    best = [max(found[place] for found in medians.values() if place < len(found)) for place in range(len(factors))]
    target = goal
    if goal is None and 1.0 in played.get(REFERENCE, {}):
        target = float(medians[REFERENCE][list(factors).index(1.0)])
    ranks = _ranks(rivals, played, budget)
    table: dict[str, Any] = {}
    for rival, found in values.items():
        quartiles = [[float(np.quantile(at, share)) for at in found] for share in (0.25, 0.5, 0.75)]
        table[rival] = {
            "seeds": len(rivals[rival]),
            "seeds_at": [len(seeds) for seeds in played[rival].values()],
            "median": _rounded(quartiles[1]),
            "quartiles": [_rounded(quartiles[0]), _rounded(quartiles[2])],
            "rank": _rounded(ranks[rival], 2) if ranks[rival] else None,
            "mean_rank": round(float(np.mean(ranks[rival])), 2) if ranks[rival] else None,
            "points_behind_best": _rounded(100 * (np.array(best[: len(found)]) - medians[rival]), 2),
            "time_to_target": None
            if target is None
            else time_to(list(rivals[rival].values()), target, budget, max(played[rival], default=0.0)),
        }
    ordered = dict(sorted(table.items(), key=lambda item: item[1]["mean_rank"] or 0.0))
    common = set.intersection(*(set(found) for found in rivals.values()))
    return {"factors": list(factors), "target": target, "common_seeds": len(common), "rivals": ordered}


def _played(runs: Mapping[int, Run], budget: float, factors: Sequence[float]) -> dict[float, list[int]]:
    """Returns the seeds that have played each budget; no budget that none has played."""
    found = {
        factor: sorted(seed for seed, run in runs.items() if factor * budget <= run.get("seconds", np.inf) * 1.001)
        for factor in sorted(factors)
    }
    return {factor: seeds for factor, seeds in found.items() if seeds}


def _ranks(
    rivals: dict[str, dict[int, Run]], played: Mapping[str, Mapping[float, Sequence[int]]], budget: float
) -> dict[str, list[float]]:
    """Returns each rival's mean rank for each budget that it has played. 1 is the best.

    The ranks are among the rivals that have played this budget, over the seeds that all of them
    have. Without such a seed there is no rank for this budget or a larger one.
    """
    ranks: dict[str, list[float]] = {rival: [] for rival in rivals}
    for factor in sorted({factor for found in played.values() for factor in found}):
        among = [rival for rival in rivals if factor in played[rival]]
        seeds = set.intersection(*(set(played[rival][factor]) for rival in among))
        if not seeds:
            break
        table = [rankdata([-value_at(rivals[rival][seed], factor * budget) for rival in among]) for seed in seeds]
        for rival, rank in zip(among, np.mean(table, axis=0), strict=True):
            ranks[rival].append(float(rank))
    return ranks


def time_to(runs: Sequence[Run], target: float, budget: float, most: float) -> float | None:
    """Returns the first time at which the median over seeds reaches a target, in budgets.

    None if it does not within the longest budget. At each time, the runs count that are as long.
    """
    times = sorted({time for run in runs for time in run["times"] if time <= most * budget})
    for time in times:
        if np.median([value_at(run, time) for run in runs if time <= run.get("seconds", np.inf)]) >= target:
            return round(float(time / budget), 3)
    return None


def table(compared: dict[str, Any]) -> str:
    """Returns a comparison as a table of plain text."""
    lines = []
    for slots, part in compared.items():
        heads = "".join(f"{factor:>8g}x" for factor in part["factors"])
        lines.append(f"{slots} slot{'s' if slots != '1' else ''}{heads:>{72 - len(slots)}}")
        lines.append(f"{'':24}{'rank':>6}{'to target':>11}{'behind':>8}")
        for rival, row in part["rivals"].items():
            rank = "-" if row["mean_rank"] is None else f"{row['mean_rank']:.2f}"
            time = "never" if row["time_to_target"] is None else f"{row['time_to_target']:.2f}"
            medians = "".join(f"{100 * value:>9.2f}" for value in row["median"])
            lines.append(
                f"{rival:24}{rank:>6}{time:>11}{max(row['points_behind_best']):>8.2f}{medians}  n={row['seeds']}"
            )
    return "\n".join(lines)


def _rounded(values: Any, digits: int = 4) -> list[float]:
    return [round(float(value), digits) for value in values]
