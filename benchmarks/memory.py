"""Whether a worker's memory grows over many trials of more shapes than stay captured.

    python -m benchmarks.memory --out benchmarks/results/memory-h100.json
    python -m benchmarks.memory --lanes 4 --out benchmarks/results/memory-lanes-h100.json
    python -m benchmarks.memory --cpu --trials 30

First each shape once, then shapes drawn at random, so that some networks are found and others
captured again. After each trial it reads what is in tensors, what torch holds of the device for
them, and what is taken of the device in all; on a CPU all three are the process's resident
memory, to try the script. `growth` compares the most that was held after the first trials with the
most that was held by then. The first trials are one of each shape. With several lanes they are the
first half, because every lane meets the shapes by itself: four lanes have met nine of ten then.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import torch

from benchmarks.circumstances import commit, device, today, versions
from fer_tune.data.demo import demo_faces
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.spec import DataRef
from fer_tune.data.splits import reference, store_split
from fer_tune.job import Job, JobEnd, Value
from fer_tune.pool.lanes import LaneSet
from fer_tune.settings import Settings
from fer_tune.train.loop import Trainer
from fer_tune.train.memory import Memory

SHAPES: tuple[tuple[str, dict[str, Value]], ...] = (
    ("simple_cnn", {"width": 16, "batch_size": 64, "optimizer": "adam"}),
    ("simple_cnn", {"width": 32, "batch_size": 128, "optimizer": "sgd"}),
    ("simple_cnn", {"width": 64, "batch_size": 96, "optimizer": "adamw"}),
    ("simple_cnn", {"width": 128, "batch_size": 256, "optimizer": "adamw"}),
    ("deep_cnn", {"width": 16, "batch_size": 64, "optimizer": "sgd"}),
    ("deep_cnn", {"width": 32, "batch_size": 128, "optimizer": "adamw"}),
    ("deep_cnn", {"width": 64, "batch_size": 48, "optimizer": "adam", "hidden": 2048}),
    ("deep_cnn", {"width": 24, "batch_size": 256, "optimizer": "adamw", "hidden_norm": True}),
    ("resnet", {"width": 0.25, "batch_size": 64, "optimizer": "sgd", "stem": "7x7"}),
    ("resnet", {"width": 0.5, "batch_size": 128, "optimizer": "adamw", "stem": "7x7"}),
)
"""Two more than a `NetworkCache` holds: every fifth trial or so captures again."""
TINY: dict[str, Value] = {"batch_size": 32}
"""On a CPU."""


def main() -> None:
    """Trains, prints the growth, and writes JSON if asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--cpu", action="store_true", help="tiny trials, resident memory")
    parser.add_argument("--lanes", type=int, default=1, help="trials at the same time")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        where = "cpu" if options.cpu else "cuda:0"
        rows = measure(where, options.trials, _faces(Path(folder), options.cpu), options.lanes)
    first = len(SHAPES) if options.lanes == 1 else max(len(SHAPES), len(rows) // 2)
    seconds = round(time.perf_counter() - began, 1)
    result = {
        "benchmark": "memory",
        "device": device(),
        "versions": versions(),
        "commit": commit(),
        "date": today(),
        "trials": len(rows),
        "lanes": options.lanes,
        "shapes": len(SHAPES),
        "seconds": seconds,
        "growth": {name: growth(rows, name, first) for name in ("allocated", "reserved", "device_used")},
        "rows": rows,
    }
    print(json.dumps({name: entry for name, entry in result.items() if name != "rows"}, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _faces(folder: Path, few: bool) -> DataRef:
    settings = Settings(folder, f"sqlite:///{folder}/fer_tune.db")
    faces = demo_faces(seed=1, scale=0.03 if few else 0.25)
    return reference(faces, store_split(faces, SplitPolicy(), settings), settings)


def measure(where: str, trials: int, data: DataRef, lanes: int = 1) -> list[dict[str, Any]]:
    """A row for each trial, sizes in bytes, in the order in which they end.

    Raises:
        RuntimeError: a trial did not complete, or was not captured on a GPU.
    """
    trainer, memory = Trainer(where), Memory(torch.device(where))
    drawn = random.Random(0)
    order = [*range(len(SHAPES)), *(drawn.randrange(len(SHAPES)) for _ in range(trials - len(SHAPES)))]
    worker = LaneSet(trainer)
    worker.use(lanes, None)
    free, began, rows = list(range(lanes)), dict.fromkeys(range(lanes), 0.0), []
    queue = deque(enumerate(order[:trials]))
    while queue or worker.busy:
        while queue and free:
            lane, (number, shape) = free.pop(), queue.popleft()
            family, params = SHAPES[shape]
            params = {**params, "lr": 1e-3, "augment": 0.3, "ema": 0.9, **(TINY if where == "cpu" else {})}
            began[lane] = time.perf_counter()
            job = Job(f"memory-{number}", "memory", "search", family, params, 1, number, data, number=shape)
            worker.start(lane, job, lambda: 0)
        for lane, end in worker.turn():
            if not isinstance(end, JobEnd):
                continue
            _refuse(end)
            free.append(lane)
            number = int(end.job.partition("-")[2])
            allocated, reserved = memory.used()
            unused, total = (0, reserved) if where == "cpu" else torch.cuda.mem_get_info()
            rows.append(
                {
                    "trial": number,
                    "shape": order[number],
                    "family": SHAPES[order[number]][0],
                    "allocated": allocated,
                    "reserved": reserved,
                    "device_used": total - unused,
                    "seconds": round(time.perf_counter() - began[lane], 3),
                }
            )
    return rows


def _refuse(end: JobEnd) -> None:
    if end.status != "completed" or end.notes:
        raise RuntimeError(f"{end.job} {end.status}: {end.reason} {end.detail} {end.notes}")


def growth(rows: list[dict[str, Any]], name: str, count: int = len(SHAPES)) -> float:
    """By what fraction the most after the first `count` trials exceeds the most until then.

    Below 0 is none.
    """
    first, rest = rows[:count], rows[count:]
    if not rest:
        return 0.0
    return round(float(max(row[name] for row in rest) / max(row[name] for row in first) - 1), 4)


if __name__ == "__main__":
    main()
