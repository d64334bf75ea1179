"""What `predict` writes, and what it refuses to replace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_tune import api
from fer_tune.cli.app import app
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.data.spec import DataSpec
from fer_tune.errors import DataError, SettingsError, StorageError
from fer_tune.report.contact_sheet import MOST
from tests.model_folder import untrained

PIXELS = " ".join(["7"] * 2304)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model, images and rows of pixels."""
    monkeypatch.chdir(tmp_path)
    untrained(tmp_path / "M", DataSpec(EMOTIONS, 48, 1))
    (tmp_path / "img").mkdir()
    Image.fromarray(np.arange(2304, dtype=np.uint8).reshape(48, 48)).save("img/ok.png")
    Path("link.png").symlink_to("img/ok.png")
    Path("s2.csv").write_text(f"pixels\n{PIXELS}\n{PIXELS}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("images", "files", "said"),
    [
        ("s2.csv", {"submission": "s2.csv"}, "is one of the images"),
        ("*.csv", {"submission": "img/../s2.csv"}, "is one of the images"),
        ("img", {"sheet": "img/ok.png"}, "is one of the images"),
        ("link.png", {"sheet": "img/ok.png"}, "is one of the images"),
        ("img/ok.png", {"submission": "M/config.json"}, "is in the folder of the model"),
        ("img/ok.png", {"sheet": "M/new.png"}, "is in the folder of the model"),
        ("img/ok.png", {"submission": "out", "sheet": "img/../out"}, "cannot be the submission and the sheet"),
        ("img/ok.png", {"submission": ""}, "submission is an empty text"),
        ("", {}, "a path is an empty text"),
    ],
)
def test_nothing_that_is_needed_is_replaced(here: Path, images: str, files: dict[str, str], said: str) -> None:
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    with pytest.raises(SettingsError, match=said) as refused:
        api.predict("M", images, **files)  # type: ignore[arg-type]
    assert refused.value.hint
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("file", ["submission", "sheet"])
@pytest.mark.parametrize(("place", "said"), [("img", "not a regular file"), ("s2.csv/new", "cannot write")])
def test_a_file_that_cannot_be_written_is_said_before_the_work(
    here: Path, monkeypatch: pytest.MonkeyPatch, file: str, place: str, said: str
) -> None:
    monkeypatch.setattr("fer_tune.sources.predict.read_pictures", lambda *_: pytest.fail("an image was read"))
    with pytest.raises(StorageError, match=said):
        api.predict("M", "link.png", **{file: place})  # type: ignore[arg-type]


@pytest.mark.parametrize("images", ["many", "many.csv"])
def test_too_many_images_for_a_sheet_are_said_before_the_work(
    here: Path, monkeypatch: pytest.MonkeyPatch, images: str
) -> None:
    Path("many").mkdir()
    for place in range(MOST + 1):
        Path(f"many/{place}.png").hardlink_to("img/ok.png")
    Path("many.csv").write_text("\n".join(["pixels", *[PIXELS] * (MOST + 1)]))
    if images == "many":
        monkeypatch.setattr("fer_tune.sources.predict.read_pictures", lambda *_: pytest.fail("an image was read"))
    monkeypatch.setattr("fer_tune.train.export.Predictor.predict", lambda *_: pytest.fail("an image was predicted"))
    with pytest.raises(DataError, match="room for 800 images, not 801") as refused:
        api.predict("M", images, submission="out.csv", sheet="sheet.png")
    assert "without the sheet" in refused.value.hint
    assert not Path("out.csv").exists()
    assert not Path("sheet.png").exists()


def test_the_help_says_how_many_images_a_sheet_has() -> None:
    assert f"up to {MOST} images" in " ".join(CliRunner().invoke(app, ["predict", "--help"]).stdout.split())


def test_an_empty_image_of_the_command_is_not_the_current_folder(here: Path) -> None:
    shown = CliRunner().invoke(app, ["predict", "M", ""])
    assert (shown.exit_code, "a path is an empty text" in shown.stderr) == (2, True)


def test_a_submission_has_each_id_once(here: Path) -> None:
    Path("more.csv").write_text(f"pixels\n{PIXELS}\n")
    notes: list[str] = []
    api.predict("M", ["s2.csv", "more.csv"], submission="out/submission.csv", note=notes.append)
    assert [line.split(",")[0] for line in Path("out/submission.csv").read_text().split()] == ["id", "0", "1", "2"]
    assert "numbered through these files, in this order: s2.csv, more.csv" in notes[0]
    Path("ids.csv").write_text(f"id,pixels\n1,{PIXELS}\n")
    assert [one.image for one in api.predict("M", ["s2.csv", "ids.csv"])] == ["0", "1", "1"]
    with pytest.raises(DataError, match="2 images have the id 1"):
        api.predict("M", ["s2.csv", "ids.csv"], submission="other.csv")
    assert not Path("other.csv").exists()
