"""How much the hyperparameters matter on the demo set, by random configurations of its sweep.

    python -m benchmarks.demo [--trials 24] [--workers 1]

The set is worth searching if val accuracies spread by 25 points or more and the best stays below
95 %. Writes benchmarks/results/demo.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.circumstances import commit, machine, today, versions
from benchmarks.sweep import set_words

ROOT = Path(__file__).parents[1]

RANDOM = ("sampler={name: random, seed: 0}", "pruner={name: none}", "start=[]")
"""What is changed in the sweep: configurations are drawn blindly and run to their end."""


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--trials", type=int, default=24)
    options.add_argument("--workers", default="1")
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "demo.json")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FER_TUNE_DIR": folder}
        run = ["run", "sweeps/demo.yaml", "--trials", str(given.trials), "--workers", given.workers]
        run += ["--wandb", "disabled", *set_words(RANDOM)]
        start = time.perf_counter()
        _fer_tune(run, environment)
        seconds = time.perf_counter() - start
        trials = json.loads(_fer_tune(["trials", "--study", "demo", "--json"], environment))
    values = sorted(trial["value"] for trial in trials if trial["value"] is not None)
    result = {
        "trials": len(values),
        "best": values[-1],
        "worst": values[0],
        "spread_points": round(100 * (values[-1] - values[0]), 1),
        "val_accuracy": [round(value, 4) for value in values],
        "seconds": round(seconds, 1),
        "date": today(),
        "commit": commit(),
        "versions": versions("torch", "numpy", "optuna"),
        "machine": machine(),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _fer_tune(words: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "fer_tune", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment,
    )
    if done.returncode != 0:
        sys.exit(
            f"fer-tune {' '.join(words)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return done.stdout


if __name__ == "__main__":
    main()
