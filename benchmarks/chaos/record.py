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
from .killing import Killed
from .other_hands import OTHER_HANDS
from .scenarios import SCENARIOS
from .subject import ROOT, SWEEP

OUT = ROOT / "benchmarks" / "results" / "chaos.json"

KILL = "SIGKILL"


def record(results: Sequence[Result], killed: Sequence[Killed] = (), known: Path | None = None) -> dict[str, Any]:
    """Returns all that is kept, as data for JSON.

    Args:
        killed: the results of kills before operations.
        known: an earlier record, if the file exists. New results replace the old ones of the same
            name, but for campaigns that could not be carried out now.
    """
    before = _known(known)
    campaigns = {campaign["name"]: campaign for campaign in before.get("campaigns", [])}
    results = [one for one in results if not one.skipped or one.campaign.name not in campaigns]
    campaigns |= {result.campaign.name: _campaign(result) for result in results}
    operations = {one["name"]: one for one in before.get("operations", [])}
    operations |= {one.name: _operations(one) for one in killed}
    order = [campaign.name for campaign in (*LONG, OTHER_HANDS)]
    kept = sorted(campaigns.values(), key=lambda one: order.index(one["name"]) if one["name"] in order else -1)
    return {
        "machine": machine(),
        "seconds": round(sum(one["seconds"] for one in (*kept, *operations.values())), 1),
        "kills": sum(happened["fault"].startswith(KILL) for campaign in kept for happened in campaign["happened"])
        + sum(one["killed"] for one in operations.values()),
        "injected": sum(len(campaign["happened"]) for campaign in kept)
        + sum(one["killed"] for one in operations.values()),
        "passed": all(one["passed"] for one in (*kept, *operations.values())),
        "faults": _faults(kept),
        "campaigns": kept,
        "operations": [operations[one.name] for one in SCENARIOS if one.name in operations],
        "sweep": SWEEP,
    }


def _known(path: Path | None) -> dict[str, Any]:
    if path is None or not path.exists():
        return {}
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return known


def _operations(killed: Killed) -> dict[str, Any]:
    return {
        "name": killed.name,
        "date": today(),
        "commit": commit(),
        "operations": killed.operations,
        "killed": killed.killed,
        "missed": killed.missed,
        "seconds": killed.seconds,
        "passed": killed.passed,
        "problems": {str(point): problems for point, problems in killed.problems.items()},
    }


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
    reactions = {name: fault.reaction for name, fault in FAULTS.items()} | dict.fromkeys(OTHER_HANDS.faults, "")
    for name, reaction in reactions.items():
        happened = [one for campaign in campaigns for one in campaign["happened"] if one["fault"] == name]
        seconds = [one["reaction_seconds"] for one in happened if "reaction_seconds" in one]
        if happened:
            found[name] = {"injected": len(happened), "reaction": reaction, "measured": len(seconds)}
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


OPERATION_COLUMNS = ("killed", "commits", "renames", "links, unlinks", "fsyncs", "kills", "outcome")


def operation_rows(recorded: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns a row for each scenario that was killed before its operations."""
    return [
        (
            one["name"],
            *(str(sum(one["operations"].get(kind, 0) for kind in kinds)) for kinds in KINDS),
            str(one["killed"]),
            "each ended like the undisturbed one" if one["passed"] else f"{len(one['problems'])} differ",
        )
        for one in recorded.get("operations", [])
    ]


KINDS = (("commit",), ("replace", "rename"), ("link", "unlink", "remove", "rmdir"), ("fsync",))
"""Kinds of operations in the columns of the table."""


def tables(recorded: Mapping[str, Any]) -> list[Table]:
    """Returns the tables, for the terminal."""
    campaigns = _table("Campaigns", CAMPAIGN_COLUMNS, campaign_rows(recorded))
    faults = _table("Faults", FAULT_COLUMNS, fault_rows(recorded))
    operations = _table("Killed before each operation", OPERATION_COLUMNS, operation_rows(recorded))
    return [campaigns, faults, operations]


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in RIGHT else "left")
    for row in rows:
        table.add_row(*row)
    return table


RIGHT = (
    "commits",
    "renames",
    "links, unlinks",
    "fsyncs",
    "kills",
    "runs",
    "trials",
    "final fits",
    "attempts",
    "repeated at most",
    "injected",
    "median",
    "longest",
)
