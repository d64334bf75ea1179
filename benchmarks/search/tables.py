"""The tables about searches in benchmarks/README.md, from the records in results/."""

from __future__ import annotations

from typing import Any

from benchmarks.tables import markdown, record

RECORD = "search.json"
MORE_CURVES = "search-more-curves.json"
"""Searches that were played on more curves. The longest ones have fewer seeds."""

RESNET = "search-resnet.json"


def search_quality() -> str:
    """Returns how far the simulation of each family can be believed."""
    return _quality_table(RECORD)


def more_curves_quality() -> str:
    """Returns the same of the simulation with more curves."""
    return _quality_table(MORE_CURVES)


def resnet_quality() -> str:
    """Returns the same of the simulation of resnet."""
    return _quality_table(RESNET)


def _quality_table(file: str) -> str:
    headings = (
        "family", "curves", "model", "rank correlation", "in the best quarter", "error, points",
        "noise of seeds, points", "best measured, %", "believed",
    )  # fmt: skip
    return markdown(headings, [_quality(name, part) for name, part in _families(file) if " from " not in name])


def _quality(name: str, part: dict[str, Any]) -> list[str]:
    simulation = part["simulation"]
    quality, noise = simulation["quality"], simulation["noise"]
    return [
        name,
        str(simulation["curves"]),
        simulation["model"],
        f"{quality['rank_correlation']:.2f}",
        f"{quality['rank_correlation_best_quarter']:.2f}",
        f"{quality['median_error_points']:.1f}",
        f"{noise['seed_offset_points']:.2f}",
        f"{100 * simulation['best_measured']:.1f}",
        "yes" if simulation["believed"] else "no",
    ]


def search_targets() -> str:
    """Returns what our search reaches, beside what it should reach."""
    headings = (
        "family, slots", "seeds", "time to target", "mean rank", "most points behind the best",
        "time from the recipe", "points lost by a wrong prior", "time in trials never above a median, %",
    )  # fmt: skip
    found = record(RECORD).get("targets", {"families": {}})["families"]
    asked = ["asked", "30", "0.33", "first", "0.3", "0.1", "0.3", "30"]
    return markdown(headings, [asked, *(_target(name, row) for name, row in found.items())])


def _target(name: str, row: dict[str, Any]) -> list[str]:
    share = row.get("never_above_median")
    figures = [row["most_points_behind"], row["time_from_recipe"], row["wrong_behind"]]
    return [
        name,
        str(row["seeds"]),
        "never" if row["time_to_target"] is None else f"{row['time_to_target']:.2f}",
        "–" if row["mean_rank"] is None else f"{row['mean_rank']:.2f}{', first' if row['first'] else ''}",
        *("–" if figure is None else f"{figure:.2f}" for figure in figures),
        "–" if share is None else f"{100 * share:.0f}",
    ]


def search_rivals() -> str:
    """Returns what each search finds at each budget: the median of its incumbents' true values."""
    return _rivals_table(RECORD)


def more_curves_rivals() -> str:
    """Returns the same on more curves."""
    return _rivals_table(MORE_CURVES)


def resnet_rivals() -> str:
    """Returns the same for resnet."""
    return _rivals_table(RESNET)


def _rivals_table(file: str) -> str:
    families = _families(file)
    factors = sorted({factor for _, part in families for one in part["compared"].values() for factor in one["factors"]})
    headings = [
        "family",
        "slots",
        "search",
        "seeds",
        "mean rank",
        "time to target",
        *(f"{factor:g}" for factor in factors),
    ]
    rows = [
        [name, slots, rival, _seeds(row), *_compared(row), *_medians(row, one["factors"], factors)]
        for name, part in families
        for slots, one in part["compared"].items()
        for rival, row in one["rivals"].items()
    ]
    return markdown(headings, rows)


def _seeds(row: dict[str, Any]) -> str:
    """Returns the number of seeds: that of the smallest and that of the largest budget."""
    first, *_, last = row["seeds_at"]
    return str(first) if first == last else f"{first}, then {last}"


def _compared(row: dict[str, Any]) -> list[str]:
    time = row["time_to_target"]
    return [f"{row['mean_rank']:.2f}" if row["mean_rank"] else "–", "–" if time is None else f"{time:.2f}"]


def _medians(row: dict[str, Any], played: list[float], factors: list[float]) -> list[str]:
    values = dict(zip(played, row["median"], strict=False))  # a costly search played the smaller budgets only
    return [f"{100 * values[factor]:.2f}" if factor in values else "–" for factor in factors]


def _families(file: str) -> list[tuple[str, dict[str, Any]]]:
    return sorted(record(file)["families"].items())
