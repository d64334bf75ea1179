"""Measures what the mirror costs a sweep.

It runs the same trials with wandb's server refusing every connection, and with no mirror.

    python -m benchmarks.mirror [--pairs 8] [--trials 4] [--epochs 6]

A shared machine's speed changes by the minute, so the two ways run at the same time, each on a
processor core of its own to which all its processes are bound, the mirror beside the training it
must not slow; the next pair changes cores. Three figures a run: the wall time of the whole command,
the images a second that training itself reached (from the database), and the processor seconds of
the command with every process below it, which other load changes least. Writes
benchmarks/results/mirror.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.circumstances import commit, machine, today, versions
from benchmarks.sweep import set_words

ROOT = Path(__file__).parents[1]

REFUSING = {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
"""A key, so that the mirror goes online, and a port on which nobody listens."""

WAYS: dict[str, tuple[str, dict[str, str]]] = {"disabled": ("disabled", {}), "refusing": ("online", REFUSING)}

CHANGES = ("sampler={name: random, seed: 0}", "pruner={name: none}", "start=[]")
"""Every run trains the same configurations to their end."""


def main() -> None:
    """Runs the pairs and writes one JSON file."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--pairs", type=int, default=8)
    options.add_argument("--trials", type=int, default=4)
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "mirror.json")
    given = options.parse_args()
    words = ["run", "sweeps/demo.yaml", "--trials", str(given.trials), "--epochs", str(given.epochs)]
    words += ["--workers", "1", *set_words(CHANGES)]
    load = os.getloadavg()
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(given.pairs):
            for way, measured in one_pair(words, Path(folder), pair).items():
                runs[way].append(measured)
                print(f"{pair:2} {way:9}", measured, flush=True)
    result = {
        "command": "fer-tune " + shlex.join(words),
        "pairs": given.pairs,
        "refusing_to_disabled": compare(runs["refusing"], runs["disabled"]),
        "runs": runs,
        "load_average_before": [round(value, 2) for value in load],
        "load_average_after": [round(value, 2) for value in os.getloadavg()],
        "date": today(),
        "commit": commit(),
        "versions": versions("torch", "optuna", "wandb"),
        "machine": f"{machine()}, shared with other work",
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in result.items() if key != "runs"}, indent=2))


def one_pair(words: list[str], folder: Path, pair: int) -> dict[str, dict[str, float]]:
    """Both ways at once, on two cores that change places from pair to pair."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    places = dict(zip(WAYS, cores if pair % 2 == 0 else reversed(cores), strict=True))
    with ThreadPoolExecutor(len(WAYS)) as threads:
        begun = {
            way: threads.submit(one_run, words, way, folder / f"{way}-{pair}", core) for way, core in places.items()
        }
        return {way: run.result() for way, run in begun.items()}


def one_run(words: list[str], way: str, folder: Path, core: int) -> dict[str, float]:
    """Runs the sweep one way into `folder`, on one core; ends the benchmark if it fails.

    Returns:
        Seconds of wall and processor time, and images a second of training.
    """
    mode, variables = WAYS[way]
    os.sched_setaffinity(0, {core})  # of this thread, and of what it starts
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = clean | {"FER_TUNE_DIR": str(folder), "OMP_NUM_THREADS": "1", **variables}
    folder.mkdir()
    started = time.perf_counter()
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_tune", *words, "--wandb", mode],
            stdout=output,
            stderr=output,
            cwd=ROOT,
            env=environment,
        )
        _, status, used = os.wait4(process.pid, 0)  # with all below it, which it has waited for
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{way} ended with {process.returncode}:\n{(folder / 'output').read_text()[-4000:]}")
    rates = {"wall_seconds": wall, "processor_seconds": used.ru_utime + used.ru_stime}
    return {name: round(value, 3) for name, value in (rates | {"images_per_second": _speed(folder)}).items()}


def _speed(folder: Path) -> float:
    from fer_tune.store import Store

    with Store.open(f"sqlite:///{folder}/fer_tune.db", create=False, root=folder) as store:
        rows = store.epochs.all("demo")
    return sum(row.images_per_second * row.seconds for row in rows) / sum(row.seconds for row in rows)


def compare(ways: list[dict[str, float]], disabled: list[dict[str, float]]) -> dict[str, Any]:
    """Throughput beside that of no mirror: 1 is as fast, 0.97 is 3 % slower; over the pairs."""
    figures: dict[str, Any] = {}
    for name, more_is_faster in (("wall_seconds", False), ("images_per_second", True), ("processor_seconds", False)):
        pairs = [(one[name], other[name]) for one, other in zip(ways, disabled, strict=True)]
        ratios = [one / other if more_is_faster else other / one for one, other in pairs]
        low, middle, high = statistics.quantiles(ratios, n=4)
        # Cores differ; what one core gave a way in a pair, it gives the other in the next.
        mean = statistics.geometric_mean(ratios)
        figures[f"throughput_by_{name}"] = {
            "median": round(middle, 4),
            "quartiles": [round(low, 4), round(high, 4)],
            "geometric_mean": round(mean, 4),
        }
    return figures


if __name__ == "__main__":
    main()
