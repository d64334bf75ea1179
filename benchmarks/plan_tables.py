"""The table of what `run --plan` expected on GPUs beside what then happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.tables import markdown

RESULTS = Path(__file__).parent / "results"


def plans() -> str:
    """Returns for each record how much more or less each search took than its plan said."""
    rows = []
    for path in sorted(RESULTS.glob("plan-*.json"), reverse=True):
        record = json.loads(path.read_text(encoding="utf-8"))
        probed = [one for one in record["sweeps"] if is_probed(one)]
        known = [one for one in record["sweeps"] if not is_probed(one)]
        link = f"[{path.name}](results/{path.name})"
        rows.append([link, ", ".join(map(_error, probed)) or "-", ", ".join(map(_error, known)) or "-"])
    return markdown(["record", "planned by a probe", "planned by earlier trials"], rows)


def is_probed(one: dict[str, Any]) -> bool:
    """Returns whether a plan was made without earlier trials."""
    return "earlier trial" not in one["plan"]


def _error(one: dict[str, Any]) -> str:
    return f"{one['sweep']} {100 * one['error']:+.0f} %"
