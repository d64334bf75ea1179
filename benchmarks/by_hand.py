"""Repeats the nine experiments that were done by hand, beside what was recorded then.

    python -m benchmarks.by_hand --data FILE --test --out benchmarks/results/by-hand-h100.json
    python -m benchmarks.by_hand --data FILE --only 7,8 --set width=0.5 --out try.json

Each experiment is the configuration `by hand N` of its family's sweep. It is trained as it was
then: on train.csv alone (28,709 images), with a plain stratified split of 70, 15 and 15 per cent
that copies may cross, pixels in 0..1, batches of 64, cross-entropy and Adam, for the epochs that
were recorded. Every figure is the mean of the seeds at the recorded epoch. The test images are
opened only with `--test`, for the one experiment that has a test figure.

`--set` adds a variant with some hyperparameters exchanged, of all experiments or of the one that it
names. It shows what an assumption does.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import yaml
from torch import Tensor

from benchmarks.circumstances import commit, device, today, versions
from benchmarks.tables import configuration
from fer_tune.data.access import open_final
from fer_tune.data.fer2013 import BY_HAND, ByHand
from fer_tune.data.load import load_faces
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.splits import reference, store_split
from fer_tune.job import EpochRow, Job, Value
from fer_tune.settings import Settings
from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.inputs import DeviceData, as_input
from fer_tune.train.loop import Trainer

PROTOCOL = SplitPolicy(policy="stratified", val=0.15, test=0.15, group_duplicates=False)
ASSUMED_EPOCHS = {4: 10, 6: 18, 9: 20}
"""For the experiments whose epochs were not recorded."""
FIGURES = ("train_accuracy", "val_accuracy", "train_loss", "val_loss", "test_accuracy")
TOLERANCE = 2.0
"""Points by which a reproduced accuracy may differ from the recorded one."""


@dataclass(frozen=True)
class Run:
    """One training. Accuracies are in per cent, losses in nats.

    `curve` has each epoch's training and validation.
    """

    seed: int
    train_accuracy: float
    val_accuracy: float
    train_loss: float
    val_loss: float
    test_accuracy: float | None
    curve: tuple[tuple[float, float], ...]
    seconds: float


def main() -> None:
    """Trains, prints a line for each experiment and variant, and writes the JSON file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--devices", default="cuda:0", help="that share the experiments: cuda:0,cuda:1")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default="", help="numbers of experiments; by default all")
    parser.add_argument("--set", action="append", default=[], help="[N:]KEY=VALUE,KEY=VALUE: a variant; repeatable")
    parser.add_argument("--only-variants", action="store_true", help="do not train the experiments themselves")
    parser.add_argument("--epochs", type=int, help="instead of the recorded ones, to try the script")
    parser.add_argument("--test", action="store_true", help="open the test images where a test figure was recorded")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no training is begun")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    ends = time.time() + 60 * options.minutes
    wanted = [one for one in BY_HAND if not options.only or str(one.number) in options.only.split(",")]
    wanted.sort(key=lambda one: (one.val is None, one.family != "resnet"))  # the long ones with figures first
    job = protocol_job(options.data)
    about: dict[str, Any] = {
        "benchmark": "by_hand", "device": device(), "versions": versions(), "commit": commit(), "date": today(),
        "data": Path(options.data).name, "split": PROTOCOL.model_dump(mode="json"), "pixels": "0..1",
        "seeds": [int(seed) for seed in options.seeds.split(",")],
    }  # fmt: skip
    pairs: list[tuple[ByHand, dict[str, Value]]] = [] if options.only_variants else [(one, {}) for one in wanted]
    pairs += [(one, changes) for one in wanted for changes in variants(options.set, one.number)]
    tasks = [Task(one, changes, job, options.epochs, about["seeds"], options.test) for one, changes in pairs]
    experiments: list[dict[str, Any]] = []
    for experiment in spread(tasks, options.devices.split(","), ends):
        experiments.append(experiment)
        print(line(experiment), flush=True)
        experiments.sort(key=lambda found: found["number"])
        options.out.write_text(json.dumps({**about, "experiments": experiments}, indent=1) + "\n", encoding="utf-8")


def protocol_job(source: str) -> Job:
    """Returns a job on the data and the split of the experiments by hand."""
    settings = Settings.from_environment()
    faces = load_faces(source, settings)
    return Job(
        "by-hand", "by-hand", "search", "", {}, 1, 0, reference(faces, store_split(faces, PROTOCOL, settings), settings)
    )


def variants(texts: list[str], number: int) -> Iterator[dict[str, Value]]:
    """Yields the changes of the variants that are meant for an experiment."""
    for text in texts:
        before, colon, after = text.rpartition(":")
        if not colon or before == str(number):
            pairs = (pair.partition("=") for pair in after.split(","))
            yield {key: yaml.safe_load(value) for key, _, value in pairs}


@dataclass(frozen=True)
class Task:
    """An experiment, or a variant of it, under some seeds."""

    one: ByHand
    changes: dict[str, Value]
    job: Job
    epochs: int | None
    seeds: list[int]
    test: bool


_trainers: list[Trainer] = []
"""The one of a process that trains. The process that waits has none."""


def spread(tasks: list[Task], devices: list[str], ends: float) -> Iterator[dict[str, Any]]:
    """Does the tasks, one at a time on each device, and yields the record of each.

    Args:
        ends: seconds since 1970, after which no task is begun.
    """
    context = multiprocessing.get_context("spawn")
    free = context.Queue()
    for name in devices:
        free.put(name)
    with ProcessPoolExecutor(len(devices), context, _take_device, (free,)) as pool:
        for future in as_completed([pool.submit(_do, task, ends) for task in tasks]):
            try:
                experiment = future.result()
            except RuntimeError as error:
                print(error, flush=True)
                continue
            if experiment is not None:
                yield experiment


def _take_device(free: Any) -> None:
    """Prepares a process that trains."""
    plain_pixels()
    _trainers.append(Trainer(free.get()))


def _do(task: Task, ends: float) -> dict[str, Any] | None:
    return None if time.time() > ends else repeat(_trainers[0], task)


def plain_pixels() -> None:
    """Lets this process's trainers take pixels in 0..1 as they are, without normalising them."""
    load = DeviceData.load

    def loaded(*args: Any) -> DeviceData:
        return replace(load(*args), mean=0.0, std=1.0)

    patch.object(DeviceData, "load", loaded).start()


def repeat(trainer: Trainer, task: Task) -> dict[str, Any]:
    """Trains an experiment once for each seed and returns its record."""
    one, params = task.one, configuration(task.one) | task.changes
    epochs = task.epochs or one.epochs or ASSUMED_EPOCHS[one.number]
    at = min(one.at or epochs, epochs)
    job = replace(task.job, family=one.family, params=params, schedule=epochs)
    tested = task.test and one.test is not None
    runs = [train(trainer, replace(job, seed=seed), at, tested) for seed in task.seeds]
    recorded = dict(zip(FIGURES, (one.train, one.val, one.train_loss, one.val_loss, one.test), strict=True))
    found = {name: mean([getattr(run, name) for run in runs]) for name in FIGURES}
    return {
        "number": one.number,
        "family": one.family,
        "changes": task.changes,
        "params": params,
        "epochs": epochs,
        "epochs_assumed": one.epochs is None,
        "at": at,
        "recorded": recorded,
        "reproduced": found,
        "within": all(
            abs(found[name] - recorded[name]) <= TOLERANCE  # type: ignore[operator]
            for name in FIGURES
            if name.endswith("accuracy") and recorded[name] is not None and found[name] is not None
        ),
        "runs": [asdict(run) for run in runs],
    }


def train(trainer: Trainer, job: Job, at: int, tested: bool) -> Run:
    """Trains one seed. RuntimeError if it does not reach its last epoch."""
    began = time.perf_counter()
    *messages, end = trainer.train_alone(job)
    rows = [row for row in messages if isinstance(row, EpochRow)]
    if len(rows) != job.schedule:
        raise RuntimeError(f"{job.family} {job.params} ended after {len(rows)} epochs: {end}")
    row = rows[at - 1]
    return Run(
        seed=job.seed,
        train_accuracy=100 * row.train_accuracy,
        val_accuracy=100 * row.val_accuracy,
        train_loss=row.train_loss,
        val_loss=row.val_loss,
        test_accuracy=100 * test_accuracy(trainer.latest, job) if tested else None,
        curve=tuple((round(100 * row.train_accuracy, 2), round(100 * row.val_accuracy, 2)) for row in rows),
        seconds=round(time.perf_counter() - began, 2),
    )


@torch.no_grad()
def test_accuracy(network: DeviceNetwork, job: Job) -> float:
    """Returns the accuracy of the weights that the network has now on the split's test images."""
    data = open_final(job.data)
    images = torch.from_numpy(data.images[data.test]).unsqueeze(1).to(network.device)
    model = network.flat.model.eval()
    correct = 0
    for part, labels in zip(batches(images), batches(torch.from_numpy(data.labels[data.test])), strict=True):
        inputs = as_input(network.data.normalised(part).to(network.inputs.dtype).permute(0, 2, 3, 1))
        correct += int((model(inputs).argmax(1).cpu() == labels).sum())
    return correct / len(images)


def batches(images: Tensor) -> tuple[Tensor, ...]:
    """Returns parts of at most 1,024."""
    return torch.tensor_split(images, max(1, -(-len(images) // 1024)))


def mean(figures: list[float | None]) -> float | None:
    """Returns the mean, rounded to four digits, or None where a figure is missing."""
    present = [figure for figure in figures if figure is not None]
    return round(statistics.fmean(present), 4) if len(present) == len(figures) else None


def line(experiment: dict[str, Any]) -> str:
    """Returns what was recorded and what came out, in one line."""
    cells = [
        f"{name.replace('_', ' ')} {experiment['recorded'][name] or '–'} → {found:.4g}"
        for name, found in experiment["reproduced"].items()
        if found is not None
    ]
    what = ", ".join(f"{key}={value}" for key, value in experiment["changes"].items())
    return f"{experiment['number']} {what}: {'; '.join(cells)}"


if __name__ == "__main__":
    main()
