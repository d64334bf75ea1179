"""Compares torchvision's networks with fer-tune's own: each trains for the same time.

    python -m benchmarks.torchvision_networks --data FILE --devices cuda:0 --seconds 300 --out FILE

`--seconds` is the whole time. Each network is first trained for one epoch, which prepares it and
shows its pace. What is left of the time is then divided equally. Each network gets a cosine
schedule of as many epochs as its share allows. So a network that is twice as fast trains twice as
many epochs. The networks train one after another, in one lane, by the code of `fer-tune run`.
Several `--devices` divide the networks among them; `--seconds` is then the time of each device.

The record is written after each network. A network that fails leaves its error there, and the
others continue. `--epochs N` gives all networks N epochs in place of a share of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import Popen
from typing import Any

from benchmarks.circumstances import commit, device, today, versions
from benchmarks.scaling_page import needs
from benchmarks.sweep import set_words
from benchmarks.tables import RESULTS, markdown, percent, record
from benchmarks.winner import Lines
from fer_tune.data.spec import FER2013
from fer_tune.errors import FerTuneError
from fer_tune.job import Value
from fer_tune.models.start_weights import PREFIX
from fer_tune.pool import Pool
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.workers import RunOptions, open_pool
from fer_tune.store import Store
from fer_tune.sweep import Sweep
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.overrides import read_changes
from fer_tune.sweep.yaml_nodes import dump

RECORD = "torchvision-networks-h100.json"

COMMON: dict[str, Value] = {
    "schedule": "cosine", "warmup": 0.1, "batch_size": 128, "label_smoothing": 0.1, "ema": 0.998,
    "self_distillation": 0.9, "head_dropout": 0.3, "augment": 0.7, "mixup": 0.5,
}  # fmt: skip
"""What the start configuration `measured 1` of sweeps/resnet.yaml has beside its optimizer."""

MUON: dict[str, Value] = {"optimizer": "muon", "lr": 2e-3, "weight_decay": 0.3, "momentum": 0.95}
SLOW: dict[str, Value] = {"self_distillation": 0.0}
"""Changes of the recipe for networks that learn slowly from new weights."""

RECIPES: dict[str, dict[str, Value]] = {
    "resnet": COMMON | MUON | {"stem": "3x3", "downsampling": "stride", "width": 1.0},
    "vgg": COMMON | MUON | {"pooling": "antialiased", "width": 1.0, "squeeze_excitation": True},
    "torchvision/resnet18": COMMON | MUON,
    "torchvision/densenet121": COMMON | MUON,
    "torchvision/efficientnet_b0": COMMON | MUON | SLOW,
    "torchvision/mobilenet_v3_small": COMMON | MUON | SLOW,
    "torchvision/convnext_tiny": COMMON | MUON | SLOW,
    "torchvision/vit_b_16": COMMON | MUON | SLOW,
}
"""How each network is trained. Those with depthwise convolutions, and the transformer, learn slowly
from new weights. Self-distillation would teach them their own first guesses."""

MOST_OF_A_PROBE = 0.4
"""Share of the time that is left after which the one epoch of a network is stopped."""

LONGEST_ERROR = 1000

RESERVE = 0.05
"""Share of the time that is kept for the start of each run and its last checkpoint."""


class KeptPool:
    """A pool whose workers outlive the runs, so that each keeps its prepared networks."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def close(self, grace: float = 0) -> None:
        """Does nothing."""


@dataclass
class Comparison:
    """Trains networks on one device, and keeps the record.

    Attributes:
        ends: when the time is over, by `time.monotonic`.
        changes: hyperparameters of all networks that replace those of their recipes.
    """

    data: str
    out: Path
    record: dict[str, Any]
    pool: Pool
    settings: Settings
    options: RunOptions
    ends: float
    changes: dict[str, Value]

    @property
    def left(self) -> float:
        """Seconds that are left, and at least one."""
        return max(1.0, self.ends - time.monotonic())

    def compare(self, families: Sequence[str], epochs: int | None = None) -> None:
        """Trains all networks, and writes the record after each."""
        if epochs:
            for family in families:
                self._add(family, epochs, self.left)
            return
        paces = self._probe(families)
        share = self.left * (1 - RESERVE) / max(1, len(paces))
        for place, (family, pace) in enumerate(paces.items()):
            now = min(share, self.left / (len(paces) - place))
            self._add(family, max(1, int(now / pace)), now)

    def _probe(self, families: Sequence[str]) -> dict[str, float]:
        """Returns the seconds of an epoch of each network, which it trains for one."""
        paces = {}
        for family in families:
            found = self._tried(family, 1, self.left * MOST_OF_A_PROBE)
            if "error" in found:
                self._write({"family": family} | found)
            else:
                paces[family] = found["seconds"]
        return paces

    def _add(self, family: str, epochs: int, share: float) -> None:
        """Trains a network, and adds what came out to the record."""
        about = {"family": family, "recipe": self.recipe(family), "schedule": epochs, "share_seconds": round(share, 1)}
        self._write(about | self._tried(family, epochs, self.left))

    def recipe(self, family: str) -> dict[str, Value]:
        """Returns the hyperparameters of a network."""
        return RECIPES.get(family, COMMON | MUON) | self.changes

    def _write(self, row: dict[str, Any]) -> None:
        self.record["networks"].append(row)
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(self.record, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(row), flush=True)

    def _tried(self, family: str, epochs: int, most: float) -> dict[str, Any]:
        """Returns what came out of a training, or its error."""
        try:
            return self._trained(family, epochs, most)
        except FerTuneError as error:
            return {"error": error.message[:LONGEST_ERROR]}

    def _trained(self, family: str, epochs: int, most: float) -> dict[str, Any]:
        """Trains a network as the only trial of a study. Returns what came out.

        Args:
            most: seconds after which it is stopped.

        Raises:
            FerTuneError: it did not train a whole epoch.
        """
        sweep = self._sweep(family, epochs, most)
        kept: Any = KeptPool(self.pool)
        outcome = run_sweeps([sweep], self.settings, self.options, Lines(), pool=kept)
        if outcome.interrupted:
            raise KeyboardInterrupt
        with Store.of(self.settings, create=False) as store:
            rows = store.epochs.all(sweep.study)
            attempts = store.jobs.attempts(sweep.study)
        if not (rows and attempts):
            raise FerTuneError(attempts[-1].reason if attempts else f"There was no time for {family}.")
        attempt = attempts[-1]
        values = [row.val_accuracy for row in rows]
        return {
            "parameters": attempt.parameters,
            "epochs": len(rows),
            "images_per_second": round(statistics.median(row.images_per_second for row in rows)),
            "seconds": round(sum(row.seconds for row in rows), 2),
            "accuracy": values[-1],
            "best_accuracy": max(values),
            "best_epoch": 1 + values.index(max(values)),
            "ended": attempt.reason,
            "notes": list(attempt.notes),
        }

    def _sweep(self, family: str, epochs: int, most: float) -> Sweep:
        """Returns a sweep with one trial, which has the network's recipe."""
        name = f"{family.rpartition('/')[2]}-{epochs}-{secrets.token_hex(3)}"
        text = dump({
            "study": name, "family": family, "data": self.data, "sampler": "random", "pruner": "none",
            "budget": {"trials": 1, "epochs": epochs, "hours": most / 3600}, "retries": 0, "patience": 0,
            "params": self.recipe(family),
        })  # fmt: skip
        return loads_sweep(text, Path(f"{name}.yaml"))


@needs(RECORD, "python -m benchmarks.torchvision_networks")
def torchvision_networks() -> str:
    """Returns the table of docs/families.md."""
    return table(record(RECORD)["networks"])


def table(networks: Sequence[Mapping[str, Any]]) -> str:
    """Returns a table of the networks, by their accuracy."""
    rows = []
    for one in sorted(networks, key=lambda row: -row.get("accuracy", 0.0)):
        if "error" in one:
            rows.append([f"`{one['family']}`", *["–"] * 4, "failed"])
            continue
        rows.append([
            f"`{one['family']}`", f"{one['parameters'] / 1e6:.1f}", f"{one['images_per_second'] / 1000:.1f}",
            str(one["epochs"]), f"{one['seconds']:.0f}", percent(one["accuracy"]),
        ])  # fmt: skip
    return markdown(["family", "million weights", "thousand images/s", "epochs", "seconds", "validation %"], rows)


@cache
def frozen_blocks() -> str:
    """Returns the table of docs/weights.md: what each value of `frozen` keeps of a network."""
    import torch

    from fer_tune.models.torchvision_layers import TorchvisionNetwork

    rows = []
    for family in (name for name in RECIPES if name.startswith(PREFIX)):
        shares = []
        for frozen in ("stem", "half"):
            with torch.device("meta"):
                network = TorchvisionNetwork(family.removeprefix(PREFIX), FER2013, None, frozen)
            still = sum(one.numel() for one in network.parameters() if not one.requires_grad)
            share = 100 * still / sum(one.numel() for one in network.parameters())
            shares.append("under 1 %" if share < 1 else f"{share:.0f} %")
        rows.append([f"`{family}`", str(network.blocks), *shares])
    return markdown(["network", "blocks", "weights in `stem`", "in `half`"], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compares the networks, prints each, and writes the record."""
    began = time.monotonic()
    options = parser().parse_args(arguments)
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = [word.replace(options.data, "FILE").replace(str(options.out), options.out.name) for word in given]
    about: dict[str, Any] = {
        "benchmark": "torchvision_networks",
        "command": "python -m benchmarks.torchvision_networks " + shlex.join(words),
        "device": device(), "versions": versions(), "commit": commit(), "date": today(),
        "data": Path(options.data).name, "networks": [],
    }  # fmt: skip
    networks = options.networks.split(",")
    if "," in options.devices:
        about["networks"] = side_by_side(options, networks)
        options.out.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        print(table(about["networks"]))
        return
    changes = read_changes("resnet", options.set)  # what all networks have
    settings = Settings.from_environment()
    run = RunOptions(workers=1, devices=options.devices, engine=options.engine, wandb="disabled", lanes=1)
    with ExitStack() as stack:
        pool = open_pool(settings, run, 60.0, print)
        stack.callback(pool.close)
        comparison = Comparison(options.data, options.out, about, pool, settings, run, began + options.seconds, changes)
        comparison.compare(networks, options.epochs)
    print(table(about["networks"]))


def side_by_side(options: argparse.Namespace, networks: Sequence[str]) -> list[dict[str, Any]]:
    """Divides the networks among the devices, each with a process and a storage folder of its own.

    Returns the rows of all of them.
    """
    devices, root = options.devices.split(","), Settings.from_environment().root
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        parts = [Path(folder, f"{place}.json") for place in range(len(devices))]
        for place, (where, part) in enumerate(zip(devices, parts, strict=True)):
            words = ["--data", options.data, "--devices", where, "--seconds", str(options.seconds)]
            words += ["--networks", ",".join(networks[place :: len(devices)]), "--engine", options.engine]
            words += ["--epochs", str(options.epochs)] if options.epochs else []
            words += set_words(options.set)
            command = [sys.executable, "-m", "benchmarks.torchvision_networks", *words, "--out", str(part)]
            environment = os.environ | {"FER_TUNE_DIR": str(root / f"device-{place}")}
            stack.enter_context(Popen(command, env=environment))
        stack.close()  # waits for all of them
        return [row for part in parts if part.exists() for row in json.loads(part.read_text("utf-8"))["networks"]]


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", required=True)
    made.add_argument("--devices", default="cuda:0", help="each has a part of the networks")
    made.add_argument("--seconds", type=float, default=300.0, help="the whole time, preparation included")
    made.add_argument("--networks", default=",".join(RECIPES), help="families, separated by commas")
    made.add_argument("--epochs", type=int, help="of each network, in place of a share of the time")
    made.add_argument("--set", action="append", default=[], help="KEY=VALUE for all networks; repeatable")
    made.add_argument("--engine", default="local", choices=["local", "inline"])
    made.add_argument("--out", type=Path, default=RESULTS / RECORD)
    return made


if __name__ == "__main__":
    main()
