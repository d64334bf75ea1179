"""The tables of what plans expected beside what then happened: on GPUs, and in the simulation."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.plan import WITHIN
from benchmarks.tables import markdown

RESULTS = Path(__file__).parent / "results"


def plans() -> str:
    """Returns for each record how much more or less each search took than its plan said."""
    rows = []
    for path in sorted(RESULTS.glob("plan-*-h100.json"), reverse=True):
        record = json.loads(path.read_text(encoding="utf-8"))
        probed = [one for one in record["sweeps"] if is_probed(one)]
        known = [one for one in record["sweeps"] if not is_probed(one)]
        link = f"[{path.name}](results/{path.name})"
        rows.append([link, ", ".join(map(_error, probed)) or "-", ", ".join(map(_error, known)) or "-"])
    return markdown(["record", "planned by a probe", "planned by earlier trials"], rows)


def simulated_plans() -> str:
    """Returns how many plans were right in the simulation, beside how many a plan could be that
    knows what searches cost on average."""
    headings = (
        "sweep", "plan from", "within 15 %", "in their range", "mean error",
        "a search took", "searches within 15 % of their mean",
    )  # fmt: skip
    return markdown(
        headings,
        [
            row
            for path in sorted(RESULTS.glob("plan-simulated*.json"))
            for sweep, found in json.loads(path.read_text(encoding="utf-8"))["sweeps"].items()
            for row in _simulated(sweep, found)
        ],
    )


def _simulated(sweep: str, found: dict[str, Any]) -> list[list[str]]:
    """Returns two rows: of plans from a probe, and of those from earlier trials."""
    took = [one["took"] for played in found["databases"] for one in played]
    alike = sum(abs(seconds / fmean(took) - 1) <= WITHIN for seconds in took)
    chance = [
        f"{found['cheapest']:.0f} to {found['dearest']:.0f} s",
        f"{alike} of {len(took)} ({100 * alike / len(took):.0f} %)",
    ]
    return [
        [sweep, "a probe", *_right(found["probed"]), *chance],
        ["", "earlier trials", *_right(found["recorded"]), "", ""],
    ]


def _right(found: dict[str, Any]) -> list[str]:
    """Returns how many of some plans were right."""
    share = f"{found['within']} of {found['plans']} ({100 * found['within'] / found['plans']:.0f} %)"
    return [share, str(found["in_range"]), f"{100 * found['mean_error']:+.1f} %"]


def is_probed(one: dict[str, Any]) -> bool:
    """Returns whether a plan was made without earlier trials."""
    return "earlier trial" not in one["plan"]


def _error(one: dict[str, Any]) -> str:
    return f"{one['sweep']} {100 * one['error']:+.0f} %"
