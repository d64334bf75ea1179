"""The comparison of networks in a fixed time, on tiny faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import torchvision_networks
from benchmarks.torchvision_networks import RECIPES, main, table
from fer_tune.settings import Settings
from fer_tune.train.config import configurations


def test_every_recipe_fits_its_network() -> None:
    for family, recipe in RECIPES.items():
        assert configurations(family, recipe)[2].schedule == "cosine"


def compared(searching: Settings, out: Path, *more: str) -> dict[str, Any]:
    words = ["--data", str(searching.data_source), "--devices", "cpu", "--engine", "inline", "--out", str(out)]
    main([*words, "--batch-size", "32", *more])
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the time of an epoch short enough for a test."""
    recipe = {"optimizer": "adamw", "width": 8}
    monkeypatch.setattr(torchvision_networks, "RECIPES", {"simple_cnn": recipe, "deep_cnn": recipe})


@pytest.mark.usefixtures("small")
def test_the_time_is_shared_and_a_network_that_fails_ends_nothing(searching: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    found = compared(searching, out, "--networks", "torchvision/nothing,simple_cnn", "--seconds", "4")
    failed, sound = found["networks"]
    assert (failed["family"], "unknown family" in failed["error"]) == ("torchvision/nothing", True)
    assert sound["family"] == "simple_cnn"
    assert sound["schedule"] >= sound["epochs"] >= 1
    assert sound["parameters"] > 0
    assert sound["images_per_second"] > 0
    assert 0 <= sound["accuracy"] <= sound["best_accuracy"] <= 1
    assert sound["recipe"] == {"optimizer": "adamw", "width": 8, "batch_size": 32}
    assert str(searching.data_source) not in found["command"]


@pytest.mark.usefixtures("small")
def test_all_networks_may_have_the_same_epochs(searching: Settings, tmp_path: Path) -> None:
    found = compared(searching, tmp_path / "out.json", "--networks", "simple_cnn", "--epochs", "2")
    assert [one["epochs"] for one in found["networks"]] == [2]


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
