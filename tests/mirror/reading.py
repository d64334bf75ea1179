"""What wandb has, offline or on the stand-in server, and what it should have."""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.job import EpochRow
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.store.epochs import MEASURES
from tests.mirror.server import Wandb

_wandb = find_spec("wandb")
assert _wandb is not None
assert _wandb.origin is not None
CORE = Path(_wandb.origin).parent / "bin" / "wandb-core"


@dataclass
class Told:
    """A run as wandb has it. `rows` are without wandb's own columns."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[str] = field(default_factory=list)
    exit_code: int | None = None


def offline(settings: Settings) -> dict[str, Told]:
    """Returns each offline run by its id, as wandb's own reader prints it."""
    found: dict[str, Told] = {}
    for file in settings.wandb.glob("offline-run-*/run-*.wandb"):
        run = file.stem.removeprefix("run-")
        assert run not in found, f"{run} has two folders"
        found[run] = read(file)
    return found


def records(file: Path) -> list[dict[str, Any]]:
    command = [str(CORE), "leet", "inspect", "--json", "-no-observability", "-run-file", str(file), str(file.parent)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in printed.splitlines()]


def read(file: Path) -> Told:
    told = Told()
    for record in records(file):
        match record["type"]:
            case "history":
                told.rows.append(metrics(record["history"]["item"]))
            case "run":
                run = record["run"]
                told.group, told.job_type, told.tags = run["run_group"], run["job_type"], run.get("tags") or told.tags
                told.config |= run["config"]["update"]
            case "summary":
                told.summary |= record["summary"].get("update", {})
            case "artifact":
                told.artifacts.append(record["artifact"]["name"])
            case "exit":
                told.exit_code = record["exit"].get("exit_code", 0)
    return told


def online(wandb: Wandb) -> dict[str, Told]:
    """Returns each run on the server by its id."""
    found = {}
    for run in wandb.runs.values():
        config = {key: entry["value"] for key, entry in run.config.items() if key != "_wandb"}
        rows = [metrics(row) for row in run.history]
        artifacts = [one["collection"] for one in wandb.artifacts if one["run"] == run.name]
        code = {"finished": 0, "running": None}.get(run.state, 1)
        found[run.name] = Told(rows, run.group, run.job_type, run.tags, config, run.summary, artifacts, code)
    return found


def metrics(item: dict[str, Any]) -> dict[str, Any]:
    """Returns a row without wandb's own columns. Its step must be its epoch."""
    assert item["_step"] == item["epoch"]
    return {name: value for name, value in item.items() if not name.startswith("_")}


def expected(row: EpochRow) -> dict[str, Any]:
    """Returns a row of the database as wandb should have it."""
    values: dict[str, Any] = {"epoch": row.epoch} | {name: getattr(row, name) for name in MEASURES}
    values |= {f"recall/{name}": value for name, value in zip(EMOTIONS, row.recall, strict=True)}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def in_database(store: Store, job: str) -> list[dict[str, Any]]:
    """Returns the epochs that count of a job, as wandb should have them."""
    return [expected(row) for row in store.epochs.curve("tiny", job)]
