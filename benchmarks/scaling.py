"""How much more several GPUs of one host train than one.

    python -m benchmarks.scaling --data FILE --gpus 1,2 --out benchmarks/results/scaling-h100.json
    python -m benchmarks.scaling --data demo --device cpu --gpus 1,2 --trials 4 --epochs 1

For each family it runs a fixed list of configurations without pruning, on each number of GPUs: the
random sampler with one seed draws the same list, whatever the timing. `efficiency` is the time of
one GPU over N times the time of N GPUs, from the first start of a job to the last end, in the same
run. Before the list comes a run that is not counted: the same configurations with one epoch each,
for at most `--settling` seconds. In it `auto` finds its number of lanes, which the storage folder
of a user remembers, and Triton compiles its kernels, which it keeps.

With `--search SECONDS` it then runs the family's shipped sweep without start configurations for so
long on each number of GPUs, and says when each reached the best value of one GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.circumstances import commit, device, machine, today, versions
from fer_tune.job import EpochRow, Job
from fer_tune.jobs import Observer
from fer_tune.jobs.outcome import Ended
from fer_tune.pool import WorkerInfo
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.workers import RunOptions
from fer_tune.sweep.load import load_sweep
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.shipped import FOLDER

WORK: dict[str, tuple[int, int]] = {"simple_cnn": (240, 6), "deep_cnn": (240, 4), "resnet": (24, 3), "vgg": (64, 2)}
"""Trials and epochs of a family's fixed list: about a minute on one H100.

Many and short ones leave fewer lanes idle at the end, and build more networks.
"""


SETTLING = 40.0
"""At most so many seconds are spent before the first list of a family."""


@dataclass
class Stretch(Observer):
    """Records when jobs start and end, on which device, and how the best value grows.

    Times are in seconds, by `time.perf_counter`.

    Attributes:
        images: how many images each device trained.
        spans: of each device, the start and end of each job.
        best: the times at which the best value rose, with the value.
    """

    images: dict[str, float] = field(default_factory=dict)
    spans: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    best: list[tuple[float, float]] = field(default_factory=list)
    _running: dict[str, tuple[str, float]] = field(default_factory=dict)

    def job_started(self, job: Job, worker: WorkerInfo, lane: int = 0) -> None:
        self._running[job.uid] = (worker.device, time.perf_counter())

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        name, _ = self._running[job.uid]
        self.images[name] = self.images.get(name, 0.0) + row.images_per_second * row.seconds
        if not self.best or value > self.best[-1][1]:
            self.best.append((time.perf_counter(), value))

    def job_ended(self, job: Job, ended: Ended) -> None:
        if job.uid in self._running:
            name, began = self._running.pop(job.uid)
            self.spans.setdefault(name, []).append((began, time.perf_counter()))

    @property
    def began(self) -> float:
        """When the first job started."""
        return min(began for spans in self.spans.values() for began, _ in spans)

    @property
    def lasted(self) -> float:
        """Seconds from the first start of a job to the last end."""
        return max(ended for spans in self.spans.values() for _, ended in spans) - self.began

    def idle(self) -> dict[str, float]:
        """Returns for each device the share of `lasted` in which it had no job."""
        return {name: round(1 - covered(spans) / self.lasted, 4) for name, spans in sorted(self.spans.items())}


def covered(spans: list[tuple[float, float]]) -> float:
    """Returns the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total


def main() -> None:
    """Runs, prints a line for each run, and writes JSON if asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="demo")
    parser.add_argument("--gpus", default="1,2")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--families", default="deep_cnn,resnet")
    parser.add_argument("--lanes", default="auto", help="auto, or a number, or several: auto,1")
    parser.add_argument("--trials", type=int, help="of the fixed list; by default about a minute on one H100")
    parser.add_argument("--epochs", type=int, help="of each of its trials")
    parser.add_argument("--settling", type=float, default=SETTLING, help="seconds before the first list of a family")
    parser.add_argument("--search", type=float, default=0.0, help="seconds of the shipped sweep on each number of GPUs")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    about = {
        "benchmark": "scaling", "device": device(), "machine": machine(), "versions": versions(), "commit": commit(),
        "date": today(), "data": Path(options.data).name,
    }  # fmt: skip
    record: dict[str, Any] = {**about, "fixed": [], "search": []}
    with tempfile.TemporaryDirectory() as folder:
        for family in options.families.split(","):
            for lanes in options.lanes.split(","):
                record["fixed"] += fixed_list(family, lanes, options, Path(folder))
                write(options.out, record)
            if options.search:
                record["search"] += search(family, options, Path(folder))
                write(options.out, record)


def fixed_list(family: str, lanes: str, options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Returns a row for each number of GPUs: the same configurations, without pruning."""
    trials, epochs = WORK.get(family, (24, 3))
    trials, epochs = options.trials or trials, options.epochs or epochs
    changes = [
        f"data.path={options.data}", "sampler=random", "pruner=none", "search=null", "start=[]", "seed=1",
        f"budget={{trials: {trials}, epochs: {epochs}}}",
    ]  # fmt: skip
    sweep = load_sweep(FOLDER / f"{family}.yaml", changes)
    rows: list[dict[str, Any]] = []
    if lanes == "auto" and options.device == "cuda":
        short = f"budget={{trials: {trials}, epochs: 1, hours: {options.settling / 3600}}}"
        settling = load_sweep(FOLDER / f"{family}.yaml", [*changes, short])
        measured(settling, 1, lanes, options.device, folder / f"{family}-settling")
    for count in map(int, options.gpus.split(",")):
        row, seen = measured(sweep, count, lanes, options.device, folder / f"{family}-{lanes}-{count}")
        row["trials"], row["epochs"] = trials, epochs
        row["trials_per_hour"] = round(3600 * trials / seen.lasted)
        first = rows[0] if rows else row
        row["efficiency"] = round(first["seconds"] * first["gpus"] / (row["seconds"] * count), 3)
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def search(family: str, options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Returns a row for each number of GPUs: the shipped sweep, and its time to the same value."""
    hours = options.search / 3600
    changes = [f"data.path={options.data}", "start=[]", f"budget.hours={hours}", "budget.trials=100000"]
    sweep = load_sweep(FOLDER / f"{family}.yaml", changes)
    rows: list[dict[str, Any]] = []
    for count in map(int, options.gpus.split(",")):
        row, seen = measured(sweep, count, "auto", options.device, folder / f"{family}-search-{count}")
        target = rows[0]["best"] if rows else seen.best[-1][1]
        reached = next((when - seen.began for when, value in seen.best if value >= target), None)
        row |= {"best": seen.best[-1][1], "seconds_to_best_of_first": None if reached is None else round(reached, 1)}
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def measured(sweep: Sweep, count: int, lanes: str, device_kind: str, folder: Path) -> tuple[dict[str, Any], Stretch]:
    """Runs a sweep on so many GPUs in a storage folder of its own."""
    cache = folder.parent / "cache"
    cache.mkdir(exist_ok=True)
    folder.mkdir()
    (folder / "cache").symlink_to(cache)  # the images are read once for all runs
    remembered = folder.parent / "lanes.json"
    if remembered.exists():
        shutil.copy(remembered, folder)
    os.environ["FER_TUNE_DIR"] = str(folder)
    names = "cpu" if device_kind == "cpu" else ",".join(f"cuda:{place}" for place in range(count))
    chosen = lanes if lanes == "auto" else int(lanes)
    how = RunOptions(workers=count, devices=names, wandb="disabled", lanes=chosen)  # type: ignore[arg-type]
    seen, cpu = Stretch(), time.process_time()
    run_sweeps([sweep], Settings.from_environment(), how, seen)
    used = time.process_time() - cpu
    if (folder / "lanes.json").exists():
        shutil.copy(folder / "lanes.json", remembered)
    images = sum(seen.images.values())
    return {
        "family": sweep.family, "gpus": count, "lanes": lanes, "seconds": round(seen.lasted, 2),
        "images_per_second": round(images / seen.lasted),
        "images_per_second_of_each": {name: round(part / seen.lasted) for name, part in sorted(seen.images.items())},
        "idle_share": seen.idle(), "orchestrator_cpu_share": round(used / seen.lasted, 3),
    }, seen  # fmt: skip


def write(out: Path | None, record: dict[str, Any]) -> None:
    """Writes the record so far: a run that is cut off leaves what it has."""
    if out is not None:
        out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
