"""Runs a sweep, and trains its best trials again under new seeds.

    python -m benchmarks.confirmed sweeps/resnet.yaml --data FILE --seconds 170 \\
        --set budget.epochs=25 --set width=1.0

The record has the table of `fer-tune confirm`: by how much the search's own figures were too high,
and how many trainings racing saved.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.circumstances import commit, device, today, versions
from benchmarks.sweep import fer_tune, set_words
from benchmarks.tables import markdown, percent

RECORD = Path(__file__).parent / "results" / "confirmed-h100.json"
STUDY = "confirmed"
WIDTH = 100
"""Characters of a line of prose."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the commands, and writes what they found."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("sweep", type=Path)
    made.add_argument("--data", required=True)
    made.add_argument("--seconds", type=float, required=True, help="wall time of the search")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--top", type=int, default=5)
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--devices")
    made.add_argument("--lanes", default="auto")
    made.add_argument("--set", action="append", default=[], dest="changes")
    made.add_argument("--out", type=Path, default=RECORD)
    options = made.parse_args(arguments)
    options.out.write_text(json.dumps(confirmed(options), indent=1) + "\n", encoding="utf-8")
    print(confirmed_trials(options.out))


def confirmed(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the search and the confirmations. Returns what came out."""
    where = ["--lanes", options.lanes, "--wandb", "disabled"]
    where += [] if options.devices is None else ["--devices", options.devices]
    words = ["run", str(options.sweep), "--study", STUDY, "--data", options.data, "--seed", str(options.seed)]
    words += ["--hours", str(options.seconds / 3600), *where, *set_words(options.changes)]
    ran = fer_tune(words)
    again = ["confirm", STUDY, "--top", str(options.top), "--seeds", str(options.seeds), *where]
    trained = fer_tune([*again, "--json"])
    return {
        "benchmark": "confirmed",
        "commands": [ran["command"], trained["command"]],
        "search_seconds": ran["seconds"],
        "confirm_seconds": trained["seconds"],
        "searched": ran["output"].strip().splitlines()[-8:],
        "standings": json.loads(trained["output"]),
        "device": device(),
        "versions": versions(),
        "commit": commit(),
        "date": today(),
    }


def confirmed_trials(record: Path = RECORD) -> str:
    """Returns the record as a table, with the optimism and the savings below it."""
    found = json.loads(record.read_text(encoding="utf-8"))["standings"]
    rows = []
    for one in found["trials"]:
        if (again := one["confirmed"]) is None:
            continue
        rows.append([
            str(one["number"]),
            percent(one["value"]),
            percent(again["mean"]),
            f"{percent(again['interval']['low'])} to {percent(again['interval']['high'])}",
            str(len(again["values"])),
            "< 0.01" if again["p"] < 0.01 else f"{again['p']:.2f}",
        ])  # fmt: skip
    saved, of = found["trainings_saved"], found["trainings_saved"] + found["trainings"]
    named = "No trial is better than all others beyond chance."
    if found["winner"] is not None:
        named = f"Trial {found['winner']} is better than the others beyond chance."
    gap = f"{100 * abs(found['optimism']):.2f} points {'above' if found['optimism'] > 0 else 'below'}"
    said = f"The search's own figures are {gap} these means. Racing saved {saved} of {of} trainings. {named}"
    table = markdown(["trial", "search, %", "new seeds, %", "95 %", "seeds", "p"], rows)
    return f"{table}\n\n{textwrap.fill(said, WIDTH)}"


if __name__ == "__main__":
    main()
