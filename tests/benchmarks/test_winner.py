"""The benchmark of what makes a winner better, on tiny faces."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.winner import How, best_of, measure
from fer_tune.settings import Settings

HOW = How(
    "fer2013", ("simple_cnn", "deep_cnn"), ("crop=44", "deep_cnn:crop=40,views=2"), ("width=8",),
    epochs=1, final_epochs=1, seeds=2, size=2, devices="cpu", lanes=2, engine="inline",
)  # fmt: skip


def test_changes_are_those_of_all_families_and_of_their_own() -> None:
    how = replace(HOW, base=("augment=0.5", "deep_cnn:width=8"))
    assert how.changes("simple_cnn") == {"recipe": {"augment": 0.5}, "crop=44": {"augment": 0.5, "crop": 44}}
    assert how.changes("deep_cnn")["crop=40,views=2"] == {"augment": 0.5, "width": 8, "crop": 40, "views": 2}


def test_the_best_variant_and_its_views_are_chosen_together() -> None:
    means = {"recipe": {"plain": 0.70, "flip": 0.71, "crops": 0.69}, "crop=44": {"plain": 0.68, "crops": 0.72}}
    variants = {name: {"mean": mean} for name, mean in means.items()}
    other = {"recipe": {"mean": {"plain": 0.715}}}
    assert best_of({"vgg": variants, "resnet": other}) == ("vgg", "crop=44", "crops")


@pytest.mark.slow
def test_all_parts_are_measured_and_recorded(
    searching: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FER_TUNE_DATA", str(searching.data_source))
    out = tmp_path / "out.json"
    measure(HOW, {}, out, ("views", "retrain", "ensemble"))
    found = json.loads(out.read_text())
    assert set(found["views"]) == {"simple_cnn", "deep_cnn"}
    assert set(found["views"]["deep_cnn"]) == {"recipe", "crop=44", "crop=40,views=2"}
    recipe = found["views"]["simple_cnn"]["recipe"]
    assert {view: len(values) for view, values in recipe["by_seed"].items()} == {"plain": 2, "flip": 2, "crops": 2}
    retrain = found["retrain"]
    assert len(retrain["ledger"]) == len(retrain["by_seed"]["plain"]) == 2
    assert retrain["accuracy"] == retrain["mean"][retrain["chosen_on_validation"]]
    assert (found["ensemble"]["networks"], len(found["ensemble"]["ledger"])) == (2, 3)
    assert set(found["ensemble"]["test_of_single"]) == {"plain", "flip", "crops"}
    written = out.read_bytes()
    measure(HOW, found, out, ("views", "retrain", "ensemble"))
    assert out.read_bytes() == written, "nothing is measured twice"
