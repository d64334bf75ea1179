"""How long a user waits: from the shell to the first training step, and from one trial to the next.

    python -m benchmarks.start --data FILE --out benchmarks/results/start-h100.json
    python -m benchmarks.start --families simple_cnn --epochs 1
    python -m benchmarks.start --commands

Runs a small sweep of each family several times, as a user does, and reads from the events of
`--json-lines` when what happened. The first run of all finds empty caches (the data set's, the
kernels'); the later ones are what counts. In seconds:

    opened    from the shell until the study is open: Python, the sweep, the data set, the database
    ready     until a worker could take a trial: its Python, torch and the device (it starts
              before `opened`)
    asked     until the trial was given to it
    prepared  until the first training step: the faces on the device, the network built, its step
              captured
    between   from a trial's last row, just after its last step, to the next one's first step

`--commands` measures instead how long `--help`, `check`, `best`, `trials` and the first trial of
`run` take: the shortest of several calls, and the processor time, which depends less on what else
the machine does. `import torch` is measured beside them.

All trials of a run have the same shape; `between` is the largest of them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.circumstances import commit, device, machine, today, versions
from fer_tune.models import FAMILIES

SWEEP = """\
family: {family}
data: demo
objective: val_accuracy
sampler: {{name: random}}
pruner: {{name: none}}
budget: {{trials: 1, epochs: {epochs}}}
params:
  optimizer: adamw
  lr: {{low: 1.0e-4, high: 1.0e-3, log: true}}
  batch_size: 128
"""
_IMPORT = [sys.executable, "-c", "import torch, os; os._exit(0)"]
"""What a worker needs at least before its first trial. The end of the interpreter is left out."""

TRIALS = 4
"""Of each run."""


def main() -> None:
    """Measures, prints a line for each run, and writes JSON if asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="demo")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3, help="of each family; the first is not counted")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--commands", action="store_true", help="measure commands in place of runs")
    options = parser.parse_args()
    if options.commands:
        record: dict[str, Any] = {"benchmark": "start --commands", "machine": machine(), "versions": versions()}
        load = [round(value, 2) for value in os.getloadavg()]
        record |= {"commit": commit(), "date": today(), "load_average_before": load}
        record["seconds"] = commands(options.runs)
        print(json.dumps(record["seconds"]))
        if options.out:
            options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for family in options.families.split(","):
            sweep = Path(folder, f"start_{family}.yaml")
            sweep.write_text(SWEEP.format(family=family, epochs=options.epochs), encoding="utf-8")
            for run in range(options.runs):
                rows.append({"family": family, "run": run, **measure(sweep, options.data, (run + 1) * TRIALS)})
                print(json.dumps(rows[-1]), flush=True)
    result = {
        "benchmark": "start",
        "device": device(),
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "date": today(),
        "data": Path(options.data).name,
        "slowest": {
            name: max((row[name] for row in rows if row["run"]), default=None) for name in ("total", "between")
        },
        "rows": rows,
    }
    print(json.dumps(result["slowest"]))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def commands(runs: int) -> dict[str, dict[str, float]]:
    """Returns for each command the shortest wall time of several calls, and its processor time."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder, "start.yaml")
        sweep.write_text(SWEEP.format(family="simple_cnn", epochs=1), encoding="utf-8")
        environment = os.environ | {"FER_TUNE_DIR": str(Path(folder, "storage"))}
        found["run, to its first trial"] = {"wall": _first_trial(sweep, environment, runs)}
        found["import torch"] = dict(zip(("wall", "processor"), _shortest(_IMPORT, environment, runs), strict=True))
        for words in (["--help"], ["check", "resnet"], ["best"], ["trials"]):
            timed = _shortest([sys.executable, "-m", "fer_tune", *words], environment, runs)
            found[words[0]] = dict(zip(("wall", "processor"), timed, strict=True))
    return found


def _shortest(command: list[str], environment: dict[str, str], runs: int) -> tuple[float, float]:
    """Returns the shortest wall time and processor time of several calls."""
    timed = [_timed(command, environment) for _ in range(runs)]
    return min(wall for wall, _ in timed), min(processor for _, processor in timed)


def _timed(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Returns wall time and processor time of a call."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(wall, 3), round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3)


def _first_trial(sweep: Path, environment: dict[str, str], runs: int) -> float:
    """Returns the seconds from the shell until the first trial starts, the shortest of several."""
    waits = []
    for trials in range(1, runs + 2):
        command = [sys.executable, "-m", "fer_tune", "run", str(sweep), "--trials", str(trials)]
        began = datetime.now(UTC).timestamp()
        command += ["--wandb", "disabled", "--json-lines"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        events = [json.loads(line) for line in done.stdout.splitlines()]
        waits.append(next(_seconds(event) for event in events if event["event"] == "trial_started") - began)
    return round(min(waits[1:]), 3)  # the first run draws the images


def measure(sweep: Path, data: str, trials: int) -> dict[str, float]:
    """One run, in seconds; RuntimeError if it fails."""
    words = ["run", str(sweep), "--data", data, "--trials", str(trials), "--wandb", "disabled", "--json-lines"]
    began = datetime.now(UTC).timestamp()
    done = subprocess.run([sys.executable, "-m", "fer_tune", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"fer-tune {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    at: dict[str, float] = {}
    for event in events:
        at.setdefault(event["event"], _seconds(event) - began)
    firsts, lasts = _steps(events)
    first = firsts[0] - began
    found = {
        "opened": at["study_opened"],
        "ready": at["worker_ready"] - at["study_opened"],
        "asked": at["trial_started"] - at["worker_ready"],
        "prepared": first - at["trial_started"],
        "total": first,
        "between": max(after - before for before, after in zip(lasts, firsts[1:], strict=False)),
    }
    return {name: round(value, 3) for name, value in found.items()}


def _steps(events: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Returns when each trial's first step began, and when its last row came, in their order."""
    firsts: dict[int, float] = {}
    lasts: dict[int, float] = {}
    for event in events:
        if event["event"] == "epoch":
            firsts.setdefault(event["trial"], _seconds(event) - event["seconds"])
            lasts[event["trial"]] = _seconds(event)
    return list(firsts.values()), list(lasts.values())


def _seconds(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


if __name__ == "__main__":
    main()
