"""What the comparison says about what the search must reach: a figure for each of the targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.search.cases import NOTHING, OURS, RECIPE, WRONG

CHOSEN_ON = ("deep_cnn", "simple_cnn")
"""The families on whose curves the defaults were chosen. The others only check them."""


def targets(parts: dict[str, Any]) -> dict[str, Any]:
    """Returns the figures of our search, given the compared parts of the results.

    Mean ranks and points behind the best are over all budgets. `wrong_behind` is at budget 2.
    """
    found: dict[str, Any] = {"families": {}}
    ranks: dict[str, list[float]] = {}
    for family, part in sorted(parts.items()):
        if " from " in family:
            continue
        for slots, one in part["compared"].items():
            ours = one["rivals"].get(OURS)
            if ours is None:
                continue
            for rival, row in one["rivals"].items():
                if family in CHOSEN_ON and not rival.startswith(f"{OURS} ") and row["rank"]:
                    ranks.setdefault(rival, []).extend(row["rank"])
            found["families"][f"{family}, {slots} slot{'s' if slots != '1' else ''}"] = {
                "seeds": ours["seeds"],
                "time_to_target": ours["time_to_target"],
                "mean_rank": ours["mean_rank"],
                "first": ours["mean_rank"] == min(row["mean_rank"] for row in one["rivals"].values()),
                "most_points_behind": max(ours["points_behind_best"]),
                "time_from_recipe": _of(parts, f"{family} from {RECIPE}", slots, "time_to_target"),
                "wrong_behind": _behind(one, parts.get(f"{family} from {WRONG}"), slots),
                **_shares(part["runs"], slots),
            }
    found["mean_ranks"] = {name: round(float(np.mean(those)), 2) for name, those in ranks.items()}
    found["mean_ranks"] = dict(sorted(found["mean_ranks"].items(), key=lambda one: one[1]))
    return found


def _of(parts: dict[str, Any], part: str, slots: str, what: str) -> Any:
    rivals = parts.get(part, {}).get("compared", {}).get(slots, {}).get("rivals", {})
    return rivals.get(OURS, {}).get(what)


def _behind(nothing: dict[str, Any], wrong: dict[str, Any] | None, slots: str, factor: float = 2.0) -> float | None:
    """Returns by how many points a wrong prior is worse than none at a budget."""
    other = (wrong or {}).get("compared", {}).get(slots)
    with_prior, without = (None if one is None else _median_at(one, factor) for one in (other, nothing))
    return None if with_prior is None or without is None else round(100 * (without - with_prior), 2)


def _median_at(compared: dict[str, Any], factor: float) -> float | None:
    """Returns our median at a budget, if it was played."""
    medians = compared["rivals"].get(OURS, {}).get("median", [])
    return dict(zip(compared["factors"], medians, strict=False)).get(factor)


def _shares(runs: dict[str, Any], slots: str) -> dict[str, float]:
    """Returns the mean shares of the seconds that our search spent on poor trials."""
    ours = [run for key, run in runs.items() if key.startswith(f"{OURS}/{slots}/") and "never_above_median" in run]
    if not ours:
        return {}
    names = ("never_above_median", "below_last")
    return {name: round(float(np.mean([run[name] for run in ours])), 3) for name in names}


def targets_table(found: dict[str, Any]) -> str:
    """Returns the figures as a table of plain text."""
    lines = [f"{'from ' + NOTHING:24}{'to target':>11}{'rank':>7}{'behind':>8}{'from recipe':>13}{'wrong prior':>13}"]
    for name, row in found["families"].items():
        cells = [row["time_to_target"], row["mean_rank"], row["most_points_behind"], row["time_from_recipe"]]
        shown = ["-" if cell is None else f"{cell:.2f}" for cell in [*cells, row["wrong_behind"]]]
        lines.append(f"{name:24}{shown[0]:>11}{shown[1]:>7}{shown[2]:>8}{shown[3]:>13}{shown[4]:>13}")
    ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in found["mean_ranks"].items())
    return "\n".join([*lines, f"Mean ranks: {ranks}"])
