"""The measurement of objectives, on invented curves whose noise is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.objective import RULES, measure, of_family, of_records
from benchmarks.search.curves import MEASURES, Curve, Curves

EPOCHS = 20


def curve(end: float, noise: float, random: np.random.Generator) -> np.ndarray:
    """Returns a curve that reaches `end` after half of its epochs, with independent noise."""
    rise = np.minimum(1, np.arange(1, EPOCHS + 1) / (EPOCHS / 2))
    return end * rise + noise * random.standard_normal(EPOCHS)


def test_the_mean_of_the_last_epochs_has_the_least_noise_and_the_maximum_flatters() -> None:
    random = np.random.default_rng(0)
    once = [curve(0.6 + 0.02 * random.standard_normal(), 0.01, random) for _ in range(200)]
    repeats = [curve(0.6, 0.01, random) for _ in range(60)]
    pairs = [[curve(end, 0.01, random) for _ in range(4)] for end in np.linspace(0.58, 0.62, 40)]
    found = measure(once, [repeats, *pairs])
    assert set(found) == set(RULES)
    assert found["mean of last 5"]["noise"] < found["last"]["noise"]
    assert found["last"]["noise"] == pytest.approx(0.01, rel=0.3)
    assert found["max"]["flattery"] > 0.01 > abs(found["mean of last 5"]["flattery"])
    assert found["mean of last 5"]["correlation"] > found["last"]["correlation"]
    assert found["mean of last 5"]["rank"] > found["last"]["rank"]
    assert found["mean of last 5"]["error"] < found["last"]["error"] == pytest.approx(0.0141, rel=0.2)


def test_records_are_grouped_by_configuration_and_seeds_count_once(tmp_path: Path) -> None:
    curve = [0.5] * 90
    runs = [{"family": "vgg", "changes": {}, "epochs": 90, "seed": seed, "curve": curve} for seed in (0, 0, 1)]
    alone = {**runs[0], "changes": {"width": 2.0}}
    (tmp_path / "ablation.json").write_text(json.dumps({"benchmark": "ablation", "runs": [*runs, alone]}))
    hand = {"family": "simple_cnn", "params": {"lr": 0.1}, "epochs": 3}
    hand["runs"] = [{"seed": seed, "curve": [[90, 50], [95, 60], [99, 40 + seed]]} for seed in (0, 1)]
    (tmp_path / "by-hand.json").write_text(json.dumps({"experiments": [hand]}))
    found = of_records(tmp_path)
    assert {name: (one["configurations"], one["seeds"]) for name, one in found.items()} == {
        "ablations": (1, 2),
        "by hand": (1, 2),
    }
    assert found["by hand"]["rules"]["max"]["flattery"] == pytest.approx(0.195)


def test_curves_of_a_file_are_grouped_by_configuration() -> None:
    random = np.random.default_rng(0)
    curves = Curves("deep_cnn", EPOCHS)

    def add(params: dict[str, float], seed: int, repeat: bool) -> None:
        rows = np.tile(curve(0.5, 0.01, random)[:, None], (1, len(MEASURES)))
        curves.curves.append(Curve(dict(params), seed, "complete", repeat, 0.0, 0, rows))

    for seed in range(8):
        add({"lr": 0.1}, seed, True)
    for lr in (0.2, 0.2, 0.3):
        add({"lr": lr}, 1, False)
    found = of_family(curves)
    assert (found["configurations"], found["seeds"], found["epochs"]) == (3, 10, EPOCHS)
