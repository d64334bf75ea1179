"""The protocols of FER2013, on tiny faces: each is judged by the images that it names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import protocols, tables
from benchmarks.protocols import PROTOCOLS, Recipe, measure
from fer_tune.data.dataset import Dataset
from fer_tune.settings import Settings

RECIPE = Recipe("simple_cnn", {"width": 8, "batch_size": 16}, 1)


def test_each_protocol_has_its_own_images(demo: Dataset, settings: Settings) -> None:
    usage = np.array([0, 0, 0, 1, 2] * 28, np.int8)
    dataset = Dataset.of(np.array(demo.images), demo.labels, usage)
    how = {"seeds": [0], "settings": settings, "where": "cpu"}
    rows = [measure(one, dataset, RECIPE, copies=False, **how) for one in PROTOCOLS]
    assert [row["images"] for row in rows[1:]] == [28] * 4
    assert [row["honest"] for row in rows] == [True, True, True, True, False]
    with_copies = measure(PROTOCOLS[-1], dataset, RECIPE, copies=True, **how)
    assert (with_copies["images"], with_copies["copies"]) == (28, True)
    assert set(rows[0]["accuracy"]) == {"none", "flip", "crops"}


@pytest.mark.parametrize(("usage", "needed"), [(None, 4), ([0, 0], 4), ([0, 1], 4), ([0, 1, 2], 0)])
def test_protocols_with_the_parts_of_the_competition_need_images_of_all_of_them(
    demo: Dataset, usage: list[int] | None, needed: int
) -> None:
    parts = None if usage is None else np.resize(np.array(usage, np.int8), len(demo.labels))
    dataset = Dataset.of(np.array(demo.images), demo.labels, parts)
    assert sum(one.needs_more(dataset) for one in PROTOCOLS) == needed


def test_what_was_not_measured_has_dashes_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert protocols.measured_as() == "It was not measured yet."
    first, *others = PROTOCOLS
    accuracy = {"none": 0.7, "flip": 0.71, "crops": 0.72}
    said = {"policy": "usage", "copies": False}
    rows = [{"name": first.name, **said, "accuracy": accuracy, "standard_error": 0.007}]
    rows += [{"name": one.name, **said, "missing": protocols.NO_USAGE} for one in others]
    content = {"family": "vgg", "epochs": 40, "seeds": [0, 1], "protocols": rows}
    (tmp_path / protocols.RECORD).write_text(json.dumps(content))
    lines = protocols.protocols().splitlines()[2:]
    assert lines[0] == f"| {first.name} | left out | 70.00 | 71.00 | 72.00 | 0.70 | yes |"
    assert all("| – | – | – | – |" in line for line in lines[1:])
    assert sum("**no**" in line for line in lines) == 2
    assert (
        "9 rows are missing, because the source has no images of PublicTest and PrivateTest"
        in protocols.measured_as().replace("\n", " ")
    )
