"""One model under the protocols of FER2013, on tiny faces with a Usage column."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.data.dataset import Dataset
from fer_tune.errors import DataError
from fer_tune.settings import Settings
from fer_tune.sources.final import Request
from fer_tune.sources.protocols import under_protocols
from fer_tune.sources.retrain import run_final_fits
from fer_tune.sources.run import run_sweeps
from fer_tune.store.openings import Openings
from tests.jobs.helpers import INLINE, real_sweep


def fitted(settings: Settings, request: Request) -> Path:
    found = run_final_fits("s", request, settings, INLINE)
    assert found is not None
    return found[0].folder


@pytest.fixture
def searched(by_usage: Settings) -> Settings:
    """Returns the settings of a study that has the competition's own parts."""
    return by_usage


def test_each_part_is_judged_and_what_decided_something_is_not_honest(searched: Settings, with_usage: Path) -> None:
    found = under_protocols(fitted(searched, Request(on="train", test=False)), str(with_usage), searched)
    assert [row.judged for row in found.rows] == ["PrivateTest, the test images of its split", "PublicTest"]
    assert len(Openings(searched.root).all()) == 2, "PrivateTest is opened once"
    assert [row.found.images for row in found.rows] == [28, 28]
    assert [row.doubt for row in found.rows] == ["", "the search chose by 28 of them"]
    assert {row.trained for row in found.rows} == {"84 images of Training"}
    assert all(set(row.found.views) == {"none", "flip", "crops"} for row in found.rows)
    assert any("epoch chosen on PrivateTest" in text for text in found.missing)
    both = under_protocols(fitted(searched, Request(test=False)), str(with_usage), searched)
    assert both.rows[0].trained == "112 images of Training and PublicTest"
    assert [row.doubt for row in both.rows] == ["", "trained on 28 of them"]


def test_a_row_without_copies_is_judged_by_the_images_that_it_has(searched: Settings) -> None:
    texts, row = _public_test(searched, "usage", Request(on="train", test=False))
    assert texts == ["no: the search chose by 28 of them"] * 2
    assert (row["honest"], row["honest_without_copies"]) == (False, False)
    assert row["doubt_without_copies"] == "the search chose by 28 of them"
    texts, row = _public_test(searched, "usage", Request(test=False))
    assert texts == ["no: trained on 28 of them", "–"]
    assert (row["honest"], row["honest_without_copies"]) == (False, None), "no image is left"
    texts, row = _public_test(searched, "stratified", Request(test=False))
    assert 0 < row["trained_on"] < 28
    assert texts == [f"no: trained on {row['trained_on']} of them", "yes"]
    assert (row["honest"], row["honest_without_copies"], row["doubt_without_copies"]) == (False, True, "")


def _public_test(settings: Settings, policy: str, request: Request) -> tuple[list[str], dict[str, Any]]:
    """Trains a model, and returns what the table says of PublicTest, and its row of `--json`."""
    sweep = real_sweep(1)
    split = sweep.split.model_copy(update={"policy": policy})
    run_sweeps([replace(sweep, study=policy, split=split)], settings, INLINE)
    found = run_final_fits(policy, request, settings, INLINE)
    assert found is not None
    words = ["evaluate", str(found[0].folder), str(settings.data_source), "--protocol"]
    variables = {"FER_TUNE_DIR": str(settings.root), "COLUMNS": "200"}
    shown, data = (CliRunner().invoke(app, [*words, *more], env=variables).stdout for more in ([], ["--json"]))
    lines = [line for line in shown.splitlines() if line.split()[:2] == ["PublicTest", "left"]]
    [row] = [row for row in json.loads(data)["rows"] if row["judged"] == "PublicTest"]
    return [re.split(r"\s{2,}", line.strip())[-1] for line in lines], row


def test_copies_in_another_file_are_a_doubt_and_an_unknown_number_is_said(
    searched: Settings, demo: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its PublicTest has images that were trained on, and its PrivateTest has none."""
    other = tmp_path / "other.csv"
    parts = ("PublicTest", "Training", "Training", "Training", "PrivateTest")
    rows = [
        f"{label},{' '.join(map(str, image.ravel()))},{parts[place % 5]}"
        for place, (image, label) in enumerate(zip(demo.images, demo.labels, strict=True))
    ]
    other.write_text("\n".join(["emotion,pixels,Usage", *rows]))
    folder = fitted(searched, Request(test=False))
    found = under_protocols(folder, str(other), searched)
    assert [(row.judged, row.doubt, row.honest) for row in found.rows] == [
        ("PublicTest", "28 of 28 are copies of its training images", False),
        ("PrivateTest", "", True),
    ]
    assert [row.honest_without_copies for row in found.rows] == [None, True], "no image of the first is left"
    assert {row.trained for row in found.rows} == {"another data set"}
    shown = CliRunner().invoke(app, ["evaluate", str(folder), str(other), "--protocol"])
    assert shown.exit_code == 0, shown.output
    [empty] = [line for line in shown.stdout.splitlines() if "left out" in line and "PublicTest" in line]
    assert empty.split()[3:] == ["0", *"–––––"]
    unknown = under_protocols(folder, str(other), replace(searched, root=tmp_path / "elsewhere"))
    said = "its training images are not in the cache, so copies were not looked for"
    assert {(row.doubt, row.honest) for row in unknown.rows} == {(said, None)}
    for name in ("honest", "honest_without_copies"):
        assert [row[name] for row in unknown.as_dict()["rows"]] == [None, None]


def test_a_split_that_is_not_there_is_said_before_an_opening(
    searched: Settings, with_usage: Path, tmp_path: Path
) -> None:
    folder = fitted(searched, Request(test=False))
    elsewhere = replace(searched, root=tmp_path / "elsewhere")
    with pytest.raises(DataError, match="split") as caught:
        under_protocols(folder, str(with_usage), elsewhere)
    assert "FER_TUNE_DIR" in caught.value.hint
    assert Openings(elsewhere.root).all() == []


def test_without_a_usage_column_what_is_missing_is_said(
    searched: Settings, csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fitted(searched, Request(test=False))
    with pytest.raises(DataError, match="has no Usage column"):
        under_protocols(folder, str(csv), searched)
    monkeypatch.setenv("FER_TUNE_DATA", str(searched.data_source))
    shown = CliRunner().invoke(app, ["evaluate", str(folder), "fer2013", "--protocol"])
    assert shown.exit_code == 0, shown.output
    for said in ("trained on 28 of them", "left out", "published, on PrivateTest", "missing: PrivateTest, epoch"):
        assert said in " ".join(shown.stdout.split())
    data = json.loads(CliRunner().invoke(app, ["evaluate", str(folder), "fer2013", "--protocol", "--json"]).stdout)
    assert [row["honest"] for row in data["rows"]] == [True, False]
    assert np.isfinite(data["rows"][0]["test"]["crops"]["accuracy"])
    refused = CliRunner().invoke(app, ["evaluate", str(folder), "fer2013", "--protocol", "--usage", "PublicTest"])
    assert (refused.exit_code, "exclude one another" in refused.stderr) == (2, True)
