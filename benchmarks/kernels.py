"""What each Triton kernel gains beside its formula in torch, and that formula compiled.

    python -m benchmarks.kernels --data FILE --out benchmarks/results/kernels-h100.json
    python -m benchmarks.kernels --cpu

One kernel at a time is exchanged, in a network that ships and at a batch size that ships. All
others stay. For each there are training images a second of the captured step:

    ours      the step as it ships, with the kernel
    torch     with the kernel's formula in torch's operations
    compiled  with that formula compiled by torch.compile for this shape alone
    gain      ours over the better of the other two

The kernel that draws an epoch's images is not in the step. Its rates are those of a whole epoch:
the images drawn, then all steps.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.circumstances import commit, device, today, versions
from benchmarks.training import default_job, seconds
from fer_tune.job import Job, Value
from fer_tune.kernels import formulas, image_changes
from fer_tune.train.cuda_graphs import captured_alone
from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.loop import Trainer
from fer_tune.train.optimizer import Optimizer

Formula = Callable[..., Any]

KERNELS: dict[str, tuple[str, str, Formula]] = {
    "augment_images": ("augment_images", "write_changed", image_changes.write_changed),
    "grey_convolution": ("grey_convolution", "grey_convolution", formulas.grey_convolution),
    "dropout_factors": ("dropout", "dropout_factors", formulas.dropout_factors),
    "batch_norm": ("norm_relu", "batch_norm", formulas.batch_norm),
    "norm_relu": ("norm_relu", "norm_relu", formulas.norm_relu),
    "norm_relu_pool": ("norm_relu_pool", "norm_relu_pool", formulas.norm_relu_pool),
    "bias_relu_pool": ("norm_relu_pool", "bias_relu_pool", formulas.bias_relu_pool),
    "grey_norm_relu_pool": ("grey_norm_relu_pool", "grey_norm_relu_pool", formulas.grey_norm_relu_pool),
    "grey_bias_relu_pool": ("grey_norm_relu_pool", "grey_bias_relu_pool", formulas.grey_bias_relu_pool),
    "antialiased_pool": ("antialiased_pool", "antialiased_pool", formulas.antialiased_pool),
    "fused_update": ("fused_update", "update", Optimizer.update),
}
"""Of each kernel: its module, its function, and the formula that can take the function's place."""

DRAWN = "augment_images"
"""The kernel that works once an epoch, outside the step."""


@dataclass(frozen=True)
class Network:
    """A network that ships, and the kernels in its step."""

    name: str
    family: str
    kernels: tuple[str, ...]
    params: dict[str, Value] = field(default_factory=dict)


RECIPE: dict[str, Value] = {"optimizer": "muon", "momentum": 0.95, "self_distillation": 0.9, "mixup": 0.6}

NETWORKS = (
    Network("simple_cnn", "simple_cnn", (DRAWN, "grey_bias_relu_pool", "bias_relu_pool", "fused_update")),
    Network("deep_cnn", "deep_cnn", (DRAWN, "grey_norm_relu_pool", "norm_relu_pool", "fused_update")),
    Network("vgg", "vgg", (DRAWN, "grey_convolution", "norm_relu", "norm_relu_pool", "fused_update")),
    Network(
        "resnet", "resnet",
        (DRAWN, "grey_convolution", "dropout_factors", "batch_norm", "norm_relu", "fused_update"),
    ),
    Network(
        "vgg, as its sweep starts", "vgg", ("norm_relu", "antialiased_pool", "fused_update"),
        RECIPE | {"pooling": "antialiased", "width": 2.0, "squeeze_excitation": True},
    ),
    Network(
        "resnet, as its sweep starts", "resnet", ("grey_convolution", "norm_relu", "fused_update"),
        RECIPE | {"downsampling": "antialiased", "width": 1.5},
    ),
    Network("vgg, antialiased", "vgg", ("antialiased_pool",), {"pooling": "antialiased"}),
    Network("resnet, 7x7 stem", "resnet", ("norm_relu",), {"stem": "7x7"}),
    Network("simple_cnn, narrow", "simple_cnn", ("bias_relu_pool", "fused_update"), {"width": 16}),
)  # fmt: skip
"""The families' defaults, the first configurations of two sweeps, and sizes in which a kernel
weighs most."""

BATCHES: dict[str, tuple[int, ...]] = {"simple_cnn": (32, 64, 128, 256)}
"""The batch sizes of a family's sweep; of the others 64, 128 and 256."""

PARAMS: dict[str, Value] = {"optimizer": "adam", "lr": 1e-3, "augment": 0.3, "ema": 0.99}


def main() -> None:
    """Measures, prints a line for each cell, and writes JSON if asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="demo")
    parser.add_argument("--cpu", action="store_true", help="to try the script: nothing is captured, kernels do not run")
    parser.add_argument("--networks", default=";".join(network.name for network in NETWORKS), help="NAME;NAME")
    parser.add_argument("--batches", default="", help="by default those of the family's sweep")
    parser.add_argument("--kernels", default=",".join(KERNELS))
    parser.add_argument("--steps", type=int, default=200, help="steps to time, at most an epoch; the best of three")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="after which no other cell is begun")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    ends = time.monotonic() + 60 * options.minutes
    _allow_many_graphs()

    trainer = Trainer("cpu" if options.cpu else "cuda:0")
    base = default_job(options.data, 2)
    about = {
        "benchmark": "kernels", "device": device(), "versions": versions("torch", "triton"), "commit": commit(),
        "date": today(), "data": Path(options.data).name, "steps": options.steps,
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    for network, batch in cells(options):
        if time.monotonic() > ends:
            print(f"no time is left for {network.name} at {batch}", flush=True)
            continue
        for row in measure(trainer, base, network, batch, options):
            rows.append(row)
            print(json.dumps(row), flush=True)
            if options.out:  # after each row, so that a run that is cut off leaves what it has
                options.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def cells(options: argparse.Namespace) -> Iterator[tuple[Network, int]]:
    """Yields the networks and batch sizes to measure.

    First the ends of the batch sizes, then what is between.
    """
    asked = [int(size) for size in options.batches.split(",") if size]
    wanted = [one for one in NETWORKS if one.name in options.networks.split(";")]
    found = [
        (place in {0, len(sizes) - 1}, network, size)
        for network in wanted
        for sizes in [asked or BATCHES.get(network.family, (64, 128, 256))]
        for place, size in enumerate(sizes)
    ]
    for _, network, size in sorted(found, key=lambda cell: not cell[0]):
        yield network, size


def measure(
    trainer: Trainer, base: Job, network: Network, batch: int, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yields a row for each kernel of the network."""
    job = replace(base, family=network.family, params={**PARAMS, **network.params, "batch_size": batch})
    plan, config = trainer.plan(job)
    built = DeviceNetwork(plan).prepared()
    built.begin(config, plan.shape, job.seed, job.schedule)
    steps = min(options.steps, built.steps_per_epoch)
    shipped = step_rate(built, steps)
    for name in network.kernels:
        if name not in options.kernels.split(","):
            continue
        row: dict[str, Any] = {"kernel": name, "network": network.name, "batch": batch}
        if name == DRAWN:
            rates = {}
            for way in ("ours", "torch", "compiled"):
                rates[way], first = epoch_rate(built, shipped, way)
                if way != "ours":
                    row[f"seconds_to_capture_{way}"] = round(first, 1)
        else:
            again = step_rate(built, steps)
            rates = {"ours": max(shipped, again)}
            for way in ("torch", "compiled"):
                began = time.perf_counter()
                try:
                    with exchanged(name, way):
                        step = capture(built)
                        row[f"seconds_to_capture_{way}"] = round(time.perf_counter() - began, 1)
                        rates[way] = step_rate(built, steps, step)
                except RuntimeError as error:  # not every formula can be compiled and captured
                    built.flat.forget_gradients()
                    rates[way] = 0.0
                    row["error"] = str(error).splitlines()[0]
        row |= {way: round(rate) for way, rate in rates.items()}
        row["gain"] = round(row["ours"] / max(row["torch"], row["compiled"]), 3)
        yield row


@contextmanager
def exchanged(name: str, way: str) -> Iterator[None]:
    """Puts the kernel's formula in its place, as it is (`torch`) or compiled."""
    module, function, formula = KERNELS[name]
    if way == "ours" or not torch.cuda.is_available():  # without a GPU no kernel is in use
        yield
        return
    if way == "compiled":
        torch.compiler.reset()  # else a second batch size is compiled for any, which is slower
        formula = torch.compile(formula, dynamic=False)
    with patch.object(import_module(f"fer_tune.kernels.{module}"), function, formula):
        yield


def capture(network: DeviceNetwork) -> Callable[[], None]:
    """Captures the step as layers and optimizer are now; on a CPU the step itself."""
    if network.device.type != "cuda":
        return network._train_step
    return captured_alone(network._train_step, network.lane, rewind=network._cursor.zero_)


def step_rate(network: DeviceNetwork, steps: int, step: Callable[[], None] | None = None) -> float:
    """Images a second of so many steps, the best of three."""
    step = step or network.replays.step or network._train_step

    def run() -> None:
        network._cursor.zero_()
        for _ in range(steps):
            step()

    run()
    return steps * network.batch_size / min(seconds(network.device, run) for _ in range(3))


def epoch_rate(network: DeviceNetwork, rate: float, way: str) -> tuple[float, float]:
    """Returns images a second of an epoch, and the seconds of the first drawing.

    An epoch is its images drawn, then its steps at the given rate. The first drawing compiles.
    """
    images = network.steps_per_epoch * network.batch_size

    def draw() -> None:
        network.inputs.draw_epoch(network.config, network._draw_weights)

    with exchanged(DRAWN, way):
        first = seconds(network.device, draw)
        return images / (images / rate + min(seconds(network.device, draw) for _ in range(5))), first


def _allow_many_graphs() -> None:
    """Lets torch.compile keep a graph for each shape.

    Past eight it would leave a function uncompiled.
    """
    settings = import_module("torch._dynamo.config")
    for name in ("recompile_limit", "accumulated_recompile_limit"):
        setattr(settings, name, 1024)


if __name__ == "__main__":
    main()
