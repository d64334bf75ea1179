"""How fast fer-tune trains, beside a plain script on the same device and the same faces.

    python -m benchmarks.training --data FILE --out benchmarks/results/training-h100.json
    python -m benchmarks.training --cpu --out benchmarks/results/training-cpu.json

For each family and batch size, in training images a second:

    plain N   Dataset, torchvision transforms, DataLoader with N loader processes, float32, Adam,
              and `.item()` in each step
    eager     faces on the device, fer-tune's step run without capture
    trial     fer-tune in a real trial, from row to row, with drawing and evaluation
    bare      the captured step replayed, and nothing else
    share     bare's multiplications as a share of the device's measured bfloat16 matrix rate
    torch     with --compile: bare, but of torch's layers instead of our kernels
    compiled  with --compile: the same, compiled by torch.compile for this shape

With --lanes it measures several trials at the same time instead; see `benchmarks.lanes`.

`epoch_ms` says where an epoch of the trial goes, in milliseconds: `draw` (order, augmentation,
mixing), `steps` and `evaluate`, each measured by itself and waited for. `rest` is what the trial's
median epoch has beside them. It is below 0 where they overlap in a trial.

Absolute figures mean something on a GPU only. On a CPU read the ratios.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.circumstances import commit, device, today, versions
from benchmarks.lanes import lanes_table, measure_lanes, synchronise
from fer_tune.data.access import SearchData, open_search
from fer_tune.data.load import load_faces
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.spec import FER2013
from fer_tune.data.splits import reference, store_split
from fer_tune.job import EpochRow, Job, Value
from fer_tune.models import FAMILIES, layers
from fer_tune.settings import Settings
from fer_tune.train.config import configurations
from fer_tune.train.cuda_graphs import captured_alone
from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.loop import Trainer

PARAMS: dict[str, Value] = {"optimizer": "adam", "lr": 1e-3, "augment": 0.3, "ema": 0.99}
"""What the trials train with: everything that costs time is on."""


def main() -> None:
    """Measures, prints a table, and writes JSON if asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="demo")
    parser.add_argument("--cpu", action="store_true", help="deep_cnn at batch 64, fer-tune against plain script")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--batches", default="64,128,256")
    parser.add_argument("--loaders", default="2,8")
    parser.add_argument("--epochs", type=int, default=5, help="of the real trial; the first is not counted")
    parser.add_argument("--steps", type=int, default=60, help="of the plain script and the eager step")
    parser.add_argument("--compile", action="store_true", help="what torch.compile makes of torch's layers, too")
    parser.add_argument("--lanes", default="", help="numbers of lanes and auto, such as 1,2,4,8,auto")
    parser.add_argument("--cells", default="", help="of --lanes: families with batch sizes, such as vgg:64,resnet:64")
    parser.add_argument("--profile", action="store_true", help="with --lanes: what the kernels of half a second take")
    parser.add_argument("--seconds", type=float, default=4.0, help="for which lanes are measured")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    where = torch.device("cpu") if options.cpu else torch.device("cuda:0")
    families = ["deep_cnn"] if options.cpu else options.families.split(",")
    batches = [64] if options.cpu else [int(size) for size in options.batches.split(",")]
    loaders = [0] if options.cpu else [int(count) for count in options.loaders.split(",") if count]

    spec = default_job(options.data, options.epochs)
    trainer = Trainer(str(where))
    if options.lanes:
        product = [f"{family}:{batch}" for family, batch in itertools.product(families, batches)]
        side_by_side(trainer, spec, options.cells.split(",") if options.cells else product, options)
        return
    peak = matrix_rate(where)
    about = {
        "benchmark": "training",
        "device": device(),
        "versions": versions(),
        "commit": commit(),
        "date": today(),
        "data": Path(options.data).name,
        "threads": torch.get_num_threads(),
        "bf16_matrix_tflops": round(peak / 1e12, 1),
    }
    rows = []
    for family, batch in itertools.product(families, batches):
        rows.append(measure(trainer, spec, family, batch, loaders=loaders, steps=options.steps, peak=peak))
        if options.compile:
            rows[-1] |= compiled(trainer, spec, family, batch)
        print(json.dumps(rows[-1]), flush=True)
        if options.out:  # after each row: a run that is cut off leaves what it has
            options.out.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    print(table(rows, loaders, ["torch", "compiled", "seconds_to_compile"] if options.compile else []))


def side_by_side(trainer: Trainer, base: Job, cells: list[str], options: argparse.Namespace) -> None:
    """Measures lanes, prints a table, and writes JSON if asked to.

    Args:
        cells: families with batch sizes, such as `vgg:64`.
    """
    about = {
        "benchmark": "lanes",
        "device": device(),
        "versions": versions(),
        "commit": commit(),
        "date": today(),
        "data": Path(options.data).name,
        "seconds": options.seconds,
    }
    rows: list[dict[str, Any]] = []
    for cell in cells:
        family, batch, one = cell.split(":")[0], int(cell.split(":")[1]), 0
        for word in options.lanes.split(","):
            given: int | Literal["auto"] = "auto" if word == "auto" else int(word)
            try:
                row = measure_lanes(trainer, _with(base, family, batch), given, options.seconds, options.profile)
            except TimeoutError as error:
                print(f"took too long: {error}", flush=True)
                continue
            one = row["images_per_second"] if given == 1 else one
            over = {"over_one": round(row["images_per_second"] / one, 2)} if one else {}
            rows.append({"family": family, "batch": batch, "given": given, **row, **over})
            print(json.dumps(rows[-1]), flush=True)
            if options.out:
                options.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    print(lanes_table(rows))


def default_job(source: str, epochs: int) -> Job:
    """A job of deep_cnn on a data source with its default split."""
    settings = Settings.from_environment()
    faces = load_faces(source, settings)
    ref = reference(faces, store_split(faces, SplitPolicy(), settings), settings)
    return Job("benchmark", "benchmark", "search", "deep_cnn", {}, epochs, 1, ref)


def _with(base: Job, family: str, batch: int) -> Job:
    return replace(base, family=family, params={**PARAMS, "batch_size": batch})


def measure(
    trainer: Trainer, base: Job, family: str, batch: int, *, loaders: list[int], steps: int, peak: float
) -> dict[str, Any]:
    """One row of the table."""
    spec = _with(base, family, batch)
    row: dict[str, Any] = {"family": family, "batch": batch}
    for count in loaders:
        row[f"plain_{count}"] = round(
            plain(open_search(spec.data), family, batch, loaders=count, steps=steps, where=trainer.device)
        )
    began = time.perf_counter()
    network = trainer.network(spec)
    synchronise(trainer.device)
    row["seconds_to_capture"] = round(time.perf_counter() - began, 2)
    row["eager"] = round(eager(network, steps))
    ended = [time.perf_counter() for message in trainer.train_alone(spec) if isinstance(message, EpochRow)]
    lasted = [after - before for before, after in itertools.pairwise(ended)]
    images = network.steps_per_epoch * network.batch_size
    row["trial"] = round(images * len(lasted) / sum(lasted))
    row["bare"] = round(bare(network))
    row["trial_over_bare"] = round(row["trial"] / row["bare"], 3)
    row["epoch_ms"] = epoch_parts(network, statistics.median(lasted))
    for count in loaders:
        row[f"trial_over_plain_{count}"] = round(row["trial"] / row[f"plain_{count}"], 2)
    row["flops_per_image"] = flops(family)
    row["share"] = round(row["bare"] * row["flops_per_image"] / peak, 3)
    began = time.perf_counter()
    trainer.network(spec)
    synchronise(trainer.device)
    row["seconds_to_next_trial"] = round(time.perf_counter() - began, 4)
    row["notes"] = list(network.notes)
    return row


class Plain(Dataset[tuple[Tensor, int]]):
    """The training part as a script would serve it: one face at a time, augmented on the CPU."""

    def __init__(self, data: SearchData) -> None:
        from torchvision.transforms import v2  # in a second and a half, which tests need not wait for

        self.images = torch.from_numpy(data.images[data.train])
        self.labels = data.labels[data.train].tolist()
        self.transform = v2.Compose(
            [
                v2.ToPILImage(),
                v2.RandomHorizontalFlip(),
                v2.RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1)),
                v2.ColorJitter(brightness=0.1, contrast=0.1),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.5], [0.25]),
                v2.RandomErasing(p=0.15),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index][None]), self.labels[index]


def plain(data: SearchData, family: str, batch: int, *, loaders: int, steps: int, where: torch.device) -> float:
    """Images a second of the plain script, without evaluation."""
    with torch_layers():
        config = configurations(family, {})[1]
        model = FAMILIES[family].build(config, data.spec).to(where).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        criterion = nn.CrossEntropyLoss()
        loader = DataLoader(
            Plain(data), batch, shuffle=True, drop_last=True, num_workers=loaders, pin_memory=where.type == "cuda"
        )
        began, total = 0.0, 0.0
        for step, (images, labels) in enumerate(_forever(loader)):
            if step == max(5, steps // 6):
                synchronise(where)
                began, first = time.perf_counter(), step
            loss = criterion(model(images.to(where)), labels.to(where))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
            if step >= max(5, steps // 6) + steps:
                break
        synchronise(where)
        return (step - first + 1) * batch / (time.perf_counter() - began)


def torch_layers() -> AbstractContextManager[object]:
    """Meanwhile layers compute with torch's operations, not with our kernels."""
    return patch.object(layers, "HAS_TRITON", False)


def _forever(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def eager(network: DeviceNetwork, steps: int) -> float:
    """Images a second of the step without capture."""
    steps = min(steps, network.steps_per_epoch)
    network.inputs.draw_epoch(network.config, network._draw_weights)
    for count in (3, steps):
        network._cursor.zero_()
        synchronise(network.device)
        began = time.perf_counter()
        for _ in range(count):
            network._train_step()
        synchronise(network.device)
    return steps * network.batch_size / (time.perf_counter() - began)


def bare(network: DeviceNetwork) -> float:
    """Images a second of the captured step alone, over an epoch."""
    network._cursor.zero_()
    synchronise(network.device)
    began = time.perf_counter()
    for _ in range(network.steps_per_epoch):
        (network.replays.step or network._train_step)()
    synchronise(network.device)
    return network.steps_per_epoch * network.batch_size / (time.perf_counter() - began)


def compiled(trainer: Trainer, base: Job, family: str, batch: int) -> dict[str, float]:
    """What is added to a row.

    Images a second of torch's layers, captured, and of the same, compiled and captured.
    """
    spec = _with(base, family, batch)
    plan, config = trainer.plan(spec)
    with torch_layers():
        network = DeviceNetwork(plan).prepared()
        network.begin(config, plan.shape, spec.seed, spec.schedule)
        uncompiled = bare(network)
        torch.compiler.reset()  # else a second batch size is compiled for any, which is slower
        network.flat.model.compile(dynamic=False)
        began = time.perf_counter()
        if network.device.type == "cuda":
            network.replays.forget()
            network.replays.step = captured_alone(network._train_step, network.lane, rewind=network._cursor.zero_)
        bare(network)
        waited = time.perf_counter() - began
        return {"torch": round(uncompiled), "compiled": round(bare(network)), "seconds_to_compile": round(waited, 1)}


def epoch_parts(network: DeviceNetwork, epoch: float) -> dict[str, float]:
    """Milliseconds of the parts of an epoch that takes `epoch` seconds in a trial.

    The best of three each.
    """

    def steps() -> None:
        network._cursor.zero_()
        for _ in range(network.steps_per_epoch):
            (network.replays.step or network._train_step)()

    parts = {
        "draw": lambda: network.inputs.draw_epoch(network.config, network._draw_weights),
        "steps": steps,
        "evaluate": network.replays.evaluation or network._evaluate_held,
    }
    found = {name: min(seconds(network.device, part) for _ in range(3)) for name, part in parts.items()}
    found["rest"] = epoch - sum(found.values())
    return {name: round(1000 * value, 2) for name, value in found.items()}


def seconds(where: torch.device, run: Callable[[], object]) -> float:
    """How long `run` takes until the device has done it."""
    synchronise(where)
    began = time.perf_counter()
    run()
    synchronise(where)
    return time.perf_counter() - began


def flops(family: str) -> int:
    """Floating-point operations of a training step for one image.

    Forward and backward, by torch's counter.
    """
    model = FAMILIES[family].build(configurations(family, {})[1], FER2013).train()
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(2, 1, 48, 48)).sum().backward()
    return int(counter.get_total_flops()) // 2


def matrix_rate(where: torch.device) -> float:
    """Returns operations a second of a large matrix product, bfloat16 or on a CPU float32."""
    size, dtype = (8192, torch.bfloat16) if where.type == "cuda" else (1024, torch.float32)
    a, b = (torch.randn(size, size, device=where, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        synchronise(where)
        began = time.perf_counter()
        a @ b
        synchronise(where)
        best = min(best, time.perf_counter() - began)
    return float(2 * size**3 / best)


def table(rows: list[dict[str, Any]], loaders: list[int], more: list[str]) -> str:
    """The rows as Markdown."""
    names = ["family", "batch", *(f"plain_{count}" for count in loaders), "eager", "trial", "bare", "trial_over_bare"]
    names += [*(f"trial_over_plain_{count}" for count in loaders), "share", "seconds_to_next_trial", *more]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
