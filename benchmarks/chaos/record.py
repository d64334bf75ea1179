"""The results of the campaigns: tables for people, and the JSON in benchmarks/results/."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from benchmarks.circumstances import commit, machine, today, versions

from .campaigns import LONG, Result
from .faults import FAULTS
from .subject import ROOT, SWEEP

OUT = ROOT / "benchmarks" / "results" / "chaos.json"

KILL = "SIGKILL"


def record(results: Sequence[Result], known: Path | None = None) -> dict[str, Any]:
    """Returns all that is kept, as data for JSON.

    Args:
        known: an earlier record, if the file exists. New results replace the old ones of the same
            campaign.
    """
    campaigns = {campaign["name"]: campaign for campaign in _known(known)}
    campaigns |= {result.campaign.name: _campaign(result) for result in results}
    order = [campaign.name for campaign in LONG]
    kept = sorted(campaigns.values(), key=lambda one: order.index(one["name"]) if one["name"] in order else -1)
    return {
        "machine": machine(),
        "seconds": round(sum(campaign["seconds"] for campaign in kept), 1),
        "kills": sum(happened["fault"].startswith(KILL) for campaign in kept for happened in campaign["happened"]),
        "passed": all(campaign["passed"] for campaign in kept),
        "faults": _faults(kept),
        "campaigns": kept,
        "sweep": SWEEP,
    }


def _known(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    campaigns: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["campaigns"]
    return campaigns


def _campaign(result: Result) -> dict[str, Any]:
    return {
        "name": result.campaign.name,
        "seed": result.seed,
        "date": today(),
        "commit": commit(),
        "versions": versions("torch", "optuna", "sqlalchemy", "wandb", "numpy"),
        "workers": result.campaign.workers,
        "faults": dict(Counter(happened.fault for happened in result.happened)),
        "runs": result.runs,
        "budget": result.budget,
        "fits": result.fits,
        "attempts": result.attempts,
        "requeued": result.requeued,
        "most_repeated_seconds": result.repeated,
        "seconds": result.seconds,
        "passed": result.passed,
        "skipped": result.skipped,
        "checks": {name: found or "held" for name, found in result.problems.items()},
        "happened": [
            {"at": happened.at, "fault": happened.fault, "what": happened.effect.what}
            | ({} if happened.effect.seconds is None else {"reaction_seconds": round(happened.effect.seconds, 3)})
            for happened in result.happened
        ],
    }


def _faults(campaigns: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns for each kind how many there were, and how long the run took to react."""
    found: dict[str, dict[str, Any]] = {}
    for name, fault in FAULTS.items():
        happened = [one for campaign in campaigns for one in campaign["happened"] if one["fault"] == name]
        seconds = [one["reaction_seconds"] for one in happened if "reaction_seconds" in one]
        if happened:
            found[name] = {"injected": len(happened), "reaction": fault.reaction, "measured": len(seconds)}
            if seconds:
                found[name] |= {
                    "median_seconds": round(statistics.median(seconds), 2),
                    "longest_seconds": round(max(seconds), 2),
                }
    return found


def write(path: Path, recorded: Mapping[str, Any]) -> None:
    """Writes the record as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


CAMPAIGN_COLUMNS = ("campaign", "faults", "runs", "trials", "final fits", "attempts", "repeated at most", "outcome")
FAULT_COLUMNS = ("fault", "injected", "reaction", "median", "longest")


def campaign_rows(recorded: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns a row for each campaign."""
    return [
        (
            campaign["name"],
            ", ".join(f"{count} {fault}" for fault, count in campaign["faults"].items()),
            str(campaign["runs"]),
            str(campaign["budget"]),
            str(campaign.get("fits", 0)),
            str(campaign["attempts"]),
            f"{campaign['most_repeated_seconds']:.2f} s",
            outcome(campaign),
        )
        for campaign in recorded["campaigns"]
    ]


def outcome(campaign: Mapping[str, Any]) -> str:
    """Returns `16 of 16 checks held`, or which did not."""
    if campaign["skipped"]:
        return f"not carried out: {campaign['skipped']}"
    held = [name for name, found in campaign["checks"].items() if found == "held"]
    broken = [name for name in campaign["checks"] if name not in held]
    told = f"{len(held)} of {len(campaign['checks'])} checks held"
    return f"{told}; not: {', '.join(broken)}" if broken else told


def fault_rows(recorded: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns a row for each kind of fault."""
    return [
        (
            name,
            str(fault["injected"]),
            fault["reaction"],
            *(f"{fault[key]:.2f} s" if key in fault else "–" for key in ("median_seconds", "longest_seconds")),
        )
        for name, fault in recorded["faults"].items()
    ]


def tables(recorded: Mapping[str, Any]) -> list[Table]:
    """Returns both tables, for the terminal."""
    campaigns = _table("Campaigns", CAMPAIGN_COLUMNS, campaign_rows(recorded))
    faults = _table("Faults", FAULT_COLUMNS, fault_rows(recorded))
    return [campaigns, faults]


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in RIGHT else "left")
    for row in rows:
        table.add_row(*row)
    return table


RIGHT = ("runs", "trials", "final fits", "attempts", "repeated at most", "injected", "median", "longest")
