"""What one change to a recipe does to validation accuracy, all else and the seed being equal.

    python -m benchmarks.ablation --data FILE --family vgg --epochs 100 --seeds 0,1 \\
        --change width=1.5 --change augment=1.0,ema=0.9995 --out result.json

Trains the recipe below, from which the sweeps of vgg and resnet start, and each changed one, once
a seed, on one device or several, and writes the file again after each training, so that nothing is
lost when time is up. `last` is the mean accuracy of the last ten epochs, when the rate has fallen
so far that they hardly differ; `best` is the best epoch's; `flip` the last epoch's, averaged over
each face and its mirror image.

A change names hyperparameters, or, in capitals, constants of `fer_tune.train.augment`: `--change
SHIFT=0.1,width=2.0`. `--predictions FOLDER` keeps what each network predicts for the validation
images, for `benchmarks.agreement`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml
from torch import Tensor

from benchmarks.circumstances import commit, device, today, versions
from fer_tune.data.load import load_faces
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.splits import reference, store_split
from fer_tune.job import EpochRow, Job, JobEnd, Value
from fer_tune.models import family_files
from fer_tune.settings import Settings
from fer_tune.train import augment
from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.loop import Trainer

RECIPE: dict[str, Value] = {
    "optimizer": "muon",
    "lr": 2e-3,
    "weight_decay": 0.5,
    "momentum": 0.95,
    "schedule": "cosine",
    "warmup": 0.1,
    "batch_size": 128,
    "label_smoothing": 0.1,
    "ema": 0.998,
    "self_distillation": 0.9,
    "head_dropout": 0.3,
    "augment": 0.8,
    "mixup": 0.6,
}


_trainers: list[Trainer] = []
"""The one of a process that trains; empty in the process that waits."""


@dataclass(frozen=True)
class Run:
    """One training; accuracies in 0..1, `curve` those of each epoch on validation."""

    family: str
    changes: dict[str, Value]
    epochs: int
    seed: int
    best: float
    best_epoch: int
    last: float
    flip: float
    train: float
    curve: tuple[float, ...]
    parameters: int
    images_per_second: float
    seconds: float


def main() -> None:
    """Trains, prints a line for each training, and writes the JSON file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="demo")
    parser.add_argument("--family", default="vgg", help="a name, or FILE.py:NETWORK")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--change", action="append", default=[], help="KEY=VALUE,KEY=VALUE; repeatable")
    parser.add_argument("--only-changes", action="store_true", help="do not train the recipe itself")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no training is begun")
    parser.add_argument("--devices", default="cuda:0", help="between which the trainings are shared out: cuda:0,cuda:1")
    parser.add_argument("--predictions", type=Path, help="folder for what each network predicts")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    settings = Settings.from_environment()
    family = options.family
    if family_files.is_written(family):
        family = family_files.register(family, Path())
        family_files.keep(family, settings)  # for the processes that train
    faces = load_faces(options.data, settings)
    data = reference(faces, store_split(faces, SplitPolicy(), settings), settings)
    about = {"device": device(), "versions": versions(), "commit": commit(), "date": today()}
    wanted = [
        (Job("ablation", "ablation", "search", family, {}, options.epochs, seed, data), changes)
        for changes in [*([] if options.only_changes else [{}]), *map(_parsed, options.change)]
        for seed in map(int, options.seeds.split(","))
    ]
    runs: dict[int, Run] = {}
    ends = time.time() + 60 * options.minutes
    for place, run in spread(wanted, options.devices.split(","), ends, options.predictions):
        runs[place] = run
        figures = f"best {run.best:.4f} last {run.last:.4f} flip {run.flip:.4f}"
        print(f"{run.family} {run.changes or 'recipe'} seed {run.seed}: {figures}", flush=True)
        found = [asdict(run) for _, run in sorted(runs.items())]
        result = {"benchmark": "ablation", **about, "recipe": RECIPE, "runs": found}
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def spread(
    wanted: Sequence[tuple[Job, dict[str, Value]]], devices: Sequence[str], ends: float, keep: Path | None = None
) -> Iterator[tuple[int, Run]]:
    """Trains each, one at a time on a device, and yields each one's place and its run.

    Args:
        ends: seconds since the epoch after which no training is begun.
        keep: the folder for predictions.
    """
    context = multiprocessing.get_context("spawn")
    free = context.Queue()
    for name in devices:
        free.put(name)
    with ProcessPoolExecutor(len(devices), context, _take_device, (free,)) as pool:
        places = {pool.submit(_train, spec, changes, ends, keep): place for place, (spec, changes) in enumerate(wanted)}
        for future in as_completed(places):
            if (run := future.result()) is not None:
                yield places[future], run


def _take_device(free: Any) -> None:
    _trainers.append(Trainer(free.get()))


def _train(spec: Job, changes: dict[str, Value], ends: float, keep: Path | None) -> Run | None:
    """In a process of its own, which has a device."""
    if time.time() > ends:
        return None
    params = RECIPE.copy()
    with ExitStack() as stack:
        for key, value in changes.items():
            if key.isupper():  # AttributeError if there is no such constant
                stack.enter_context(patch.object(augment, key, value))
            else:
                params[key] = value
        return train(_trainers[0], replace(spec, params=params), changes, keep)


def train(trainer: Trainer, spec: Job, changes: dict[str, Value], keep: Path | None = None) -> Run:
    """Trains the recipe with `changes`, and keeps its predictions in a folder if one is given.

    Raises:
        RuntimeError: it does not come to its end.
    """
    started = time.perf_counter()
    messages: list[Any] = list(trainer.train_alone(spec))
    rows, end = [row for row in messages if isinstance(row, EpochRow)], messages[-1]
    assert isinstance(end, JobEnd)
    if end.status != "completed":
        raise RuntimeError(f"{spec.family} {changes}: {end.status}, {end.reason}")
    best = max(rows, key=lambda row: row.val_accuracy)
    (plain, flip), labels = predicted(trainer.latest), trainer.latest.data.held_labels
    if keep is not None:
        write_predictions(plain, flip, labels, keep / f"{_name(spec, changes)}.npz")
    return Run(
        family=spec.family,
        changes=changes,
        epochs=spec.schedule,
        seed=spec.seed,
        best=best.val_accuracy,
        best_epoch=best.epoch,
        last=statistics.fmean(row.val_accuracy for row in rows[-10:]),
        flip=float(((plain + flip).argmax(1) == labels).float().mean()),
        train=rows[-1].train_accuracy,
        curve=tuple(round(row.val_accuracy, 4) for row in rows),
        parameters=end.parameters,
        images_per_second=statistics.median(row.images_per_second for row in rows),
        seconds=time.perf_counter() - started,
    )


def _name(spec: Job, changes: dict[str, Value]) -> str:
    changed = "".join(f" {key}={value}" for key, value in changes.items())
    return f"{spec.family}{changed}, {spec.schedule} epochs, seed {spec.seed}".replace("/", "-")


def predicted(network: DeviceNetwork) -> tuple[Tensor, Tensor]:
    """Returns the probabilities [V, C] of the last evaluation, and for the mirrored faces."""
    held, plain = network.inputs.held, network.logits.softmax(1)
    held.copy_(held.flip(2))  # in place: a captured evaluation reads them there
    network.evaluate()
    held.copy_(held.flip(2))
    return plain, network.logits.softmax(1)


def write_predictions(plain: Tensor, flip: Tensor, labels: Tensor, path: Path) -> None:
    """Writes probabilities, as float16 [V, C], and the labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    halves = [one.half().cpu().numpy() for one in (plain, flip)]
    np.savez_compressed(path, plain=halves[0], flip=halves[1], labels=labels.cpu().numpy())


def _parsed(change: str) -> dict[str, Value]:
    pairs = (pair.partition("=") for pair in change.split(","))
    return {key: yaml.safe_load(value) for key, _, value in pairs}


if __name__ == "__main__":
    main()
