"""The table of what searches find from nothing and from the recipe, from results/finding.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import FAMILIES, markdown

RECORD = Path(__file__).parent / "results" / "finding.json"

MISSING = "not measured"

COLUMNS = {"only-recipe": "the recipe", "nothing": "from nothing", "recipe": "from the recipe"}
"""The headings, by where a search began."""


def findings() -> str:
    """Returns for each family the recipe's accuracy and the winners', all under fresh seeds."""
    found = json.loads(RECORD.read_text(encoding="utf-8"))["findings"] if RECORD.exists() else []
    rows = []
    for family in FAMILIES:
        cells = {begin: [one for one in found if (one["family"], one["from"]) == (family, begin)] for begin in COLUMNS}
        if not cells["only-recipe"]:
            cells["only-recipe"] = [one | {"from": "only-recipe"} for one in cells["recipe"] if _is_the_recipe(one)]
        rows.append([family, *map(cell, cells.values())])
    return markdown(["val % under fresh seeds", *COLUMNS.values()], rows)


def _is_the_recipe(one: dict[str, Any]) -> bool:
    """Returns whether the winner of a search is the first start configuration itself."""
    return bool(one["winner"]["number"] == 0 and one["winner"]["name"])


def cell(found: Sequence[dict[str, Any]]) -> str:
    """Returns what several searches came to: each mean, its seconds, and which trial won."""
    known = [one for one in found if one["confirmed"]["mean"] is not None]
    if not known:
        return MISSING
    means = [100 * one["confirmed"]["mean"] for one in known]
    first = f"**{sum(means) / len(means):.2f}**"
    return f"{first}: " + "; ".join(_one(one) for one in known)


def _one(one: dict[str, Any]) -> str:
    won, again = one["winner"], one["confirmed"]
    where = f"start “{won['name']}”" if won["name"] else won["drawn"] or "sampled"
    seeds = len(again["values"])
    if one["from"] == "only-recipe":
        return f"{100 * again['mean']:.2f} ({seeds} seeds, {where})"
    trial = f"trial {won['number']}, {where}"
    return f"{100 * again['mean']:.2f} ({seeds} seeds) after {one['wall_seconds']:.0f} s, {trial}"
