"""The protocols of FER2013, on tiny faces: each is judged by the images that it names."""

from __future__ import annotations

import numpy as np

from benchmarks.protocols import PROTOCOLS, Recipe, measure, page
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
    record = {"family": "simple_cnn", "epochs": 1, "seeds": [0], "protocols": [*rows, with_copies]}
    text = page(record)
    assert text.count("| yes |") == 4
    assert text.count("| **no** |") == 2
    assert max(map(len, (line for line in text.splitlines() if not line.startswith("|")))) <= 100
