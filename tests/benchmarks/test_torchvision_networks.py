"""The comparison of networks in a fixed time, on tiny faces."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from benchmarks import torchvision_networks
from benchmarks.torchvision_networks import RECIPES, Comparison, main, table
from fer_tune.errors import FerTuneError
from fer_tune.settings import Settings
from fer_tune.sources.workers import RunOptions
from fer_tune.train.config import configurations


def test_every_recipe_fits_its_network() -> None:
    for family, recipe in RECIPES.items():
        assert configurations(family, recipe)[2].schedule == "cosine"


def test_a_network_that_fails_ends_nothing(
    searching: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision_networks, "RECIPES", {"simple_cnn": {"optimizer": "adamw", "width": 8}})
    out, data = tmp_path / "out.json", str(searching.data_source)
    words = ["--data", data, "--devices", "cpu", "--engine", "inline", "--out", str(out), "--set", "batch_size=32"]
    main([*words, "--networks", "torchvision/nothing,simple_cnn", "--epochs", "2"])
    found: dict[str, Any] = json.loads(out.read_text())
    failed, sound = found["networks"]
    assert (failed["family"], "unknown family" in failed["error"]) == ("torchvision/nothing", True)
    assert sound["family"] == "simple_cnn"
    assert sound["schedule"] == sound["epochs"] == 2
    assert sound["parameters"] > 0
    assert sound["images_per_second"] > 0
    assert 0 <= sound["accuracy"] <= sound["best_accuracy"] <= 1
    assert sound["recipe"] == {"optimizer": "adamw", "width": 8, "batch_size": 32}
    assert data not in found["command"]


def test_each_network_has_the_same_share_of_the_time(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(_: Comparison, family: str, epochs: int, most: float) -> dict[str, Any]:
        if family == "broken":
            raise FerTuneError("It cannot be trained.")
        return {"seconds": epochs * {"fast": 1.0, "slow": 4.0, "slowest": 4000.0}[family]}

    monkeypatch.setattr(Comparison, "_trained", trained)
    pool: Any = None
    ends, record = time.monotonic() + 300, {"networks": []}
    options = RunOptions(devices="cpu")
    comparison = Comparison("demo", tmp_path / "out.json", record, pool, settings, options, ends, {})
    comparison.compare(["fast", "broken", "slow", "slowest"])
    found = json.loads((tmp_path / "out.json").read_text())["networks"]
    assert [(one["family"], one.get("schedule")) for one in found] == [
        ("broken", None), ("fast", 94), ("slow", 23), ("slowest", 1),
    ]  # fmt: skip
    assert found[0]["error"] == "It cannot be trained."


def test_the_best_network_comes_first_in_the_table() -> None:
    one = {"parameters": 2e6, "images_per_second": 1500, "epochs": 3, "seconds": 12.3}
    rows: list[dict[str, Any]] = [
        {"family": "vgg", "accuracy": 0.6} | one,
        {"family": "torchvision/vit_b_16", "error": "no"},
        {"family": "resnet", "accuracy": 0.65} | one,
    ]
    lines = table(rows).splitlines()[2:]
    assert lines[0] == "| `resnet` | 2.0 | 1.5 | 3 | 12 | 65.00 |"
    assert "vgg" in lines[1]
    assert lines[2].endswith("| failed |")


def test_several_devices_divide_the_networks(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Process(nullcontext[None]):
        """Writes what the command would: the networks that it was given."""

        def __init__(self, command: list[str], env: dict[str, str]) -> None:
            super().__init__()
            given = dict(zip(command[3::2], command[4::2], strict=True))
            rows = [{"family": name, "error": given["--devices"]} for name in given["--networks"].split(",")]
            Path(given["--out"]).write_text(json.dumps({"networks": rows}))
            folders.append(env["FER_TUNE_DIR"])

    folders: list[str] = []
    monkeypatch.setattr(torchvision_networks, "Popen", Process)
    out = tmp_path / "out.json"
    main(["--data", "demo", "--devices", "cuda:0,cuda:1", "--networks", "vgg,resnet,deep_cnn", "--out", str(out)])
    found = json.loads(out.read_text())["networks"]
    assert [(one["family"], one["error"]) for one in found] == [
        ("vgg", "cuda:0"), ("deep_cnn", "cuda:0"), ("resnet", "cuda:1"),
    ]  # fmt: skip
    assert len(set(folders)) == 2
