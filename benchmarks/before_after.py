"""Compares the training speed of this checkout with that of an earlier one, on one machine.

    git worktree add ../before COMMIT
    python -m benchmarks.before_after ../before --data FILE --out before-after.json

Runs `benchmarks.training` of the earlier checkout and of this one in turn, each in a process of its
own and with a storage folder of its own. For each family and batch size it writes the images a
second inside a real trial and of the bare captured step, before and after, and their ratios. With
several rounds, the best of each checkout counts. Ends with 1 if a trial is slower than `--floor`
allows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.circumstances import commit, today

HERE = Path(__file__).parent.parent
RATES = ("trial", "bare")

Cell = tuple[str, int]


def main() -> int:
    """Measures, prints a table and writes JSON; 1 if a cell is below the floor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("before", type=Path, help="the earlier checkout")
    parser.add_argument("--data", default="demo")
    parser.add_argument("--cpu", action="store_true", help="deep_cnn at batch 64")
    parser.add_argument("--families", default="simple_cnn,deep_cnn,vgg,resnet")
    parser.add_argument("--batches", default="64,128,256")
    parser.add_argument("--epochs", default="5")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--floor", type=float, default=0.98)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    trees = {"before": options.before.resolve(), "after": HERE}
    rates: dict[str, dict[Cell, dict[str, int]]] = {name: {} for name in trees}
    about: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as storage:
        for _ in range(options.rounds):
            for name, tree in trees.items():
                found = measure(tree, options, Path(storage) / name)
                about |= {key: found[key] for key in ("device", "versions", "data")}
                about[name] = found["commit"]
                keep_best(rates[name], found["rows"])
                rows = compared(rates)
                result = {"benchmark": "before_after", **about, "date": today(), "rounds": options.rounds, "rows": rows}
                options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(rows))
    slow = [row for row in rows if row["trial"]["ratio"] < options.floor]
    for row in slow:
        print(f"{row['family']} at {row['batch']} has {row['trial']['ratio']} of its speed, less than {options.floor}")
    return int(bool(slow))


def measure(tree: Path, options: argparse.Namespace, storage: Path) -> dict[str, Any]:
    """Runs the benchmark of one checkout and returns its record."""
    storage.mkdir(exist_ok=True)
    out = storage / "training.json"
    data = options.data if options.data == "demo" else str(Path(options.data).resolve())
    words = ["--data", data, "--families", options.families, "--batches", options.batches, "--loaders", ""]
    words += ["--epochs", options.epochs, "--steps", "10", "--out", str(out), *(["--cpu"] if options.cpu else [])]
    environment = os.environ | {"PYTHONPATH": str(tree), "FER_TUNE_DIR": str(storage)}
    environment["FER_TUNE_COMMIT"] = commit() if tree == HERE else commit_of(tree)
    subprocess.run(
        [sys.executable, "-m", "benchmarks.training", *words], cwd=tree, env=environment, check=True, stdout=sys.stderr
    )
    record: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return record


def commit_of(tree: Path) -> str:
    """Returns the commit of a checkout. An exported one has it in a file COMMIT."""
    exported = tree / "COMMIT"
    if exported.exists():
        return exported.read_text(encoding="utf-8").strip()
    words = ["git", "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
    return subprocess.run(words, cwd=tree, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def keep_best(rates: dict[Cell, dict[str, int]], rows: list[dict[str, Any]]) -> None:
    """Keeps each cell's best rates."""
    for row in rows:
        kept = rates.setdefault((row["family"], row["batch"]), dict.fromkeys(RATES, 0))
        for name in RATES:
            kept[name] = max(kept[name], row[name])


def compared(rates: dict[str, dict[Cell, dict[str, int]]]) -> list[dict[str, Any]]:
    """Returns a row for each cell that both checkouts have measured."""
    both = [cell for cell in rates["before"] if cell in rates["after"]]
    return [
        {"family": family, "batch": batch}
        | {
            name: {way: rates[way][family, batch][name] for way in rates}
            | {"ratio": round(rates["after"][family, batch][name] / rates["before"][family, batch][name], 3)}
            for name in RATES
        }
        for family, batch in both
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as Markdown, in images a second."""
    lines = ["| | batch | trial before | after | ratio | step before | after | ratio |", "|" + "---|" * 8]
    for row in rows:
        cells = [f"{row[name][way]:,}" for name in RATES for way in ("before", "after", "ratio")]
        lines.append(f"| {row['family']} | {row['batch']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
