"""The evaluation of a model against labelled images, its own and others."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_tune import api
from fer_tune.cli.app import app
from fer_tune.data.dataset import Dataset
from fer_tune.errors import DataError, SettingsError, StorageError
from fer_tune.settings import Settings
from fer_tune.sources.assess import assess
from fer_tune.sources.final import Request
from fer_tune.sources.model_origin import studies_of
from fer_tune.sources.retrain import run_final_fits
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store
from fer_tune.store.openings import Openings
from tests.jobs.helpers import INLINE, real_sweep
from tests.sources.conftest import Once


@pytest.fixture
def model(once: Once) -> tuple[Settings, Path]:
    """Returns the settings and the folder of a model that was not tested."""

    def work(settings: Settings) -> None:
        run_sweeps([real_sweep(1)], settings, INLINE)
        assert run_final_fits("s", Request(test=False), settings, INLINE)

    settings = once("a model", work)
    (model,) = settings.artifacts.rglob("model.safetensors")
    return settings, model.parent


def tree(root: Path, demo: Dataset, places: list[int], names: tuple[str, ...] | None = None) -> Path:
    """Writes some of the tiny faces as image files in folders of classes."""
    for place in places:
        name = (names or demo.spec.classes)[int(demo.labels[place])]
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(demo.images[place])).save(root / name / f"{place}.png")
    return root


def test_its_own_data_set_means_the_test_images_of_its_split(model: tuple[Settings, Path]) -> None:
    settings, folder = model
    first = assess(folder, "fer2013", settings)
    with Store.of(settings) as store:
        record = store.studies.get("s")
    assert (first.images, first.part) == (record.split.counts["test"], "the test images of its split")
    assert set(first.views) == {"none", "flip", "crops"}
    assert first.copies is not None
    assert first.trained == 0
    second = assess(folder, "fer2013", settings)
    assert [len(one.ledger) for one in (first, second)] == [1, 2], "each evaluation is an opening"
    assert first.views["none"].scores == second.views["none"].scores
    assert not (settings.cache / "evaluate").exists(), "nothing is left in the cache"
    assert [one.study for one in second.ledger] == ["s", "s"]


def test_copies_of_training_images_are_left_out_beside(model: tuple[Settings, Path], demo: Dataset, tmp_path: Path):
    settings, folder = model
    with Store.of(settings) as store:
        data = store.studies.get("s").data_ref(settings.root)
    with np.load(data.split) as file:
        trained, test = file["train"][:5].tolist(), file["test"][:4].tolist()
    source = tree(tmp_path / "faces", demo, [*trained, *test])
    found = assess(folder, str(source), settings, out=tmp_path / "out")
    assert (found.images, found.copies) == (9, 5)
    assert found.trained is None, "files of their own are not known by their place in the data set"
    assert found.distinct is not None
    assert sum(map(sum, found.distinct["none"].confusion)) == 4
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["copies_of_training_images"] == 5
    assert set(metrics["test_without_copies"]) == {"plain", "flip", "crops"}
    with np.load(tmp_path / "out" / "predictions.npz") as predictions:
        assert (predictions["plain"].argmax(1) == predictions["label"]).mean() == metrics["test"]["plain"]["accuracy"]
    assert api.compare(str(tmp_path / "out"), str(tmp_path / "out")).p == 1.0


@pytest.mark.parametrize("place", [".", "member-0"])
def test_figures_are_never_written_into_the_folder_of_a_model(
    model: tuple[Settings, Path], tmp_path: Path, place: str
) -> None:
    settings, folder = model
    shutil.copytree(folder, tmp_path / "model" / place)
    if place != ".":
        (tmp_path / "model" / "ensemble.json").write_text("{}")
    before = {path: path.read_bytes() for path in (tmp_path / "model").rglob("*") if path.is_file()}
    for target in (tmp_path / "model", tmp_path / "model" / place):
        with pytest.raises(SettingsError, match="has a model in it") as caught:
            assess(folder, "fer2013", settings, out=target)
        assert f"--out results/{target.name}`" in caught.value.hint
    assert {path: path.read_bytes() for path in before} == before
    assert Openings(settings.root).all() == [], "it was refused before test was opened"


def test_a_part_with_test_images_of_its_split_counts_for_the_split(by_usage: Settings, with_usage: Path) -> None:
    found = run_final_fits("s", Request(), by_usage, INLINE)
    assert found is not None
    folder, source = found[0].folder, str(with_usage)
    counts = [
        len(assess(folder, source, by_usage, usage=usage).ledger)
        for usage in ("PrivateTest", "privatetest", None, "PublicTest", "PUBLICTEST")
    ]
    assert counts == [2, 3, 4, 1, 2], "PublicTest has no test image of the split"
    with Store.of(by_usage) as store:
        split = store.studies.get("s").split.hash
    ledger = Openings(by_usage.root)
    assert [one.purpose for one in ledger.of_split(split)] == ["final fit", *["evaluate"] * 3]
    assert len(ledger.all()) == 6, "each opening is there once"


def test_a_part_of_its_data_counts_for_the_split_if_the_split_is_not_there(
    by_usage: Settings, with_usage: Path, tmp_path: Path
) -> None:
    found = run_final_fits("s", Request(test=False), by_usage, INLINE)
    assert found is not None
    elsewhere = replace(by_usage, root=tmp_path / "elsewhere")
    assess(found[0].folder, str(with_usage), elsewhere, usage="PublicTest")
    with Store.of(by_usage) as store:
        split = store.studies.get("s").split.hash
    assert len(Openings(elsewhere.root).of_split(split)) == 1, "nobody knows which images are test"


def test_a_part_without_images_is_said_before_an_opening(
    by_usage: Settings, with_usage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = run_final_fits("s", Request(test=False), by_usage, INLINE)
    assert found is not None
    source = tmp_path / "nopub.csv"
    rows = with_usage.read_text().splitlines()
    source.write_text("\n".join(row for row in rows if not row.endswith("PublicTest")))
    monkeypatch.setenv("FER_TUNE_DIR", str(by_usage.root))
    words = ["evaluate", str(found[0].folder), str(source), "--usage", "publictest", "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, words)
    assert (refused.exit_code, refused.stdout) == (2, "")
    said = " ".join(refused.stderr.split())
    assert "nopub.csv has no images of PublicTest." in said
    assert "It has images of Training and PrivateTest." in said
    assert Openings(by_usage.root).all() == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["file", "link", "folder"])
def test_a_folder_that_cannot_be_written_is_said_before_test_is_opened(
    model: tuple[Settings, Path], tmp_path: Path, what: str
) -> None:
    settings, folder = model
    out = tmp_path / "out"
    if what == "file":
        out.write_text("mine")
    elif what == "link":
        out.mkdir()
        (out / "metrics.json").symlink_to(tmp_path / "elsewhere")
    else:
        (out / "predictions.npz").mkdir(parents=True)
    with pytest.raises((SettingsError, StorageError), match=r"out.* is not a"):
        assess(folder, "fer2013", settings, out=out)
    assert Openings(settings.root).all() == []


def test_figures_are_shown_if_they_cannot_be_written(
    model: tuple[Settings, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = model
    monkeypatch.setenv("FER_TUNE_DATA", str(settings.data_source))

    def full(path: Path, *arguments: object) -> None:
        raise StorageError(f"cannot write {path}: No space left on device", "Free some space.")

    monkeypatch.setattr("fer_tune.sources.assess.write_predictions", full)
    shown = CliRunner().invoke(app, ["evaluate", str(folder), "fer2013", "--out", str(tmp_path / "out")])
    assert shown.exit_code == 2
    assert "ten crops" in shown.stdout
    assert "predictions.npz: No space left" in shown.stderr
    [opening] = Openings(settings.root).all()
    assert set(opening.result) == {"plain", "flip", "crops"}
    words = ["evaluate", str(folder), "fer2013", "--out", str(tmp_path / "out"), "--json"]
    shown = CliRunner().invoke(app, words)
    assert (shown.exit_code, json.loads(shown.stdout)["openings"]) == (2, 2)


def test_the_result_is_in_the_ledger_before_the_predictions_are_written(
    by_usage: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise StorageError("full")

    monkeypatch.setattr("fer_tune.sources.evaluate.write_predictions", full)
    with pytest.raises(StorageError, match="full"):
        run_final_fits("s", Request(), by_usage, INLINE)
    [opening] = Openings(by_usage.root).all()
    assert set(opening.result) == {"plain", "flip"}


def test_results_of_another_model_source_or_part_are_not_replaced(
    model: tuple[Settings, Path], demo: Dataset, tmp_path: Path
) -> None:
    settings, folder = model
    out, faces = tmp_path / "out", str(tree(tmp_path / "faces", demo, [1, 41, 81]))
    for _ in range(2):  # the same ones may be written again
        assess(folder, faces, settings, out=out)
    written = (out / "metrics.json").read_text()
    assert json.loads(written)["model"] == folder.name
    assert json.loads(written)["source"] == faces
    others = {"model": "another", "source": "fer2013", "part": "PublicTest"}
    for content in (*(json.loads(written) | {name: value} for name, value in others.items()), {"mine": 1}, [1]):
        (out / "metrics.json").write_text(json.dumps(content))
        with pytest.raises(SettingsError, match="other results") as caught:
            assess(folder, faces, settings, out=out)
        assert "--out" in caught.value.hint
        assert json.loads((out / "metrics.json").read_text()) == content
    assert len(Openings(settings.root).all()) == 2, "it was refused before the images were opened"
    del (older := json.loads(written))["model"]
    (out / "metrics.json").write_text(json.dumps(older))
    assess(folder, faces, settings, out=out)


def test_a_split_that_is_not_there_is_said_before_test_is_opened(model: tuple[Settings, Path], tmp_path: Path) -> None:
    settings, folder = model
    elsewhere = replace(settings, root=tmp_path / "elsewhere")
    with pytest.raises(DataError, match="split") as caught:
        assess(folder, "fer2013", elsewhere)
    assert "FER_TUNE_DIR" in caught.value.hint
    assert "Run the sweep" not in caught.value.hint
    assert Openings(elsewhere.root).all() == []


def test_an_evaluation_of_an_ensemble_names_its_studies() -> None:
    def member(origin: object) -> SimpleNamespace:
        return SimpleNamespace(description={"origin": origin})

    members = [member({"study": "one"}), member({"study": "two"}), member({"study": "one"}), member("damaged")]
    assert studies_of(SimpleNamespace(members=members)) == "one, two"
    assert studies_of(members[1]) == "two"
    assert studies_of(SimpleNamespace(description={})) == ""


def test_images_that_the_model_was_trained_on_are_named(
    once: Once, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(settings: Settings) -> None:
        run_sweeps([real_sweep(1)], settings, INLINE)
        assert run_final_fits("s", Request(on="all"), settings, INLINE)

    settings = once("a model of all images", work)
    (path,) = settings.artifacts.rglob("model.safetensors")
    found = assess(path.parent, "fer2013", settings, out=tmp_path / "out")
    metrics = (tmp_path / "out" / "metrics.json").read_text()
    assert "NaN" not in metrics, "it is not valid JSON"
    assert json.loads(metrics)["test_without_copies"]["plain"]["accuracy"] is None
    assert found.trained == found.images == found.copies
    assert found.as_dict()["trained_on"] == found.images
    monkeypatch.setenv("FER_TUNE_DATA", str(settings.data_source))
    shown = CliRunner().invoke(app, ["evaluate", str(path.parent), "fer2013"])
    assert shown.exit_code == 0, shown.output
    assert f"The model was trained on {found.images} of these images." in shown.stdout
    assert "are copies of training images" not in shown.stdout


def test_classes_are_found_by_name_and_an_unknown_one_is_said(
    model: tuple[Settings, Path], demo: Dataset, tmp_path: Path
) -> None:
    settings, folder = model
    upper = tree(tmp_path / "upper", demo, [1, 41, 81], tuple(name.upper() for name in demo.spec.classes))
    assert assess(folder, str(upper), settings).images == 3
    other = tree(tmp_path / "other", demo, [1, 41], ("contempt", "x", "y", "z", "a", "b", "c"))
    with pytest.raises(DataError, match="which the model does not know"):
        assess(folder, str(other), settings)
    with pytest.raises(DataError, match="has no part PrivateTest"):
        assess(folder, str(upper), settings, usage="PrivateTest")


def test_images_of_one_class_are_evaluated(
    model: tuple[Settings, Path], demo: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = model
    monkeypatch.setenv("FER_TUNE_DIR", str(settings.root))
    source = tree(tmp_path / "faces", demo, [60, 61, 62])
    found = assess(folder, str(source), settings, out=tmp_path / "out")
    assert [path.name for path in source.iterdir()] == ["happy"]
    assert [sum(row) for row in found.views["none"].confusion] == [0, 0, 0, 3, 0, 0, 0]
    scores = found.views["none"].scores
    assert scores.balanced_accuracy == scores.accuracy
    assert "NaN" not in (tmp_path / "out" / "metrics.json").read_text()
    shown = CliRunner().invoke(app, ["evaluate", str(folder), str(source)])
    assert (shown.exit_code, "nan" in shown.stdout.lower()) == (0, False), shown.output
    (source / "happy" / "broken.png").write_text("no image")
    refused = CliRunner().invoke(app, ["evaluate", str(folder), str(source)])
    assert (refused.exit_code, "broken.png" in refused.stderr) == (2, True)
    refused = CliRunner().invoke(app, ["data", str(tree(tmp_path / "more", demo, [60]))])
    assert (refused.exit_code, "only one class (happy)" in refused.stderr) == (2, True)


def test_without_the_training_images_nothing_is_said_of_copies(
    model: tuple[Settings, Path], demo: Dataset, tmp_path: Path
) -> None:
    settings, folder = model
    elsewhere = replace(settings, root=tmp_path / "elsewhere")
    found = assess(folder, str(tree(tmp_path / "faces", demo, [3, 50])), elsewhere)
    assert (found.copies, found.distinct) == (None, None)
    [opening] = Openings(elsewhere.root).of_split(found.ledger[0].split)
    assert opening.purpose == "evaluate"


def test_the_command_prints_figures_and_ledger(model: tuple[Settings, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    settings, folder = model
    monkeypatch.setenv("FER_TUNE_DATA", str(settings.data_source))
    shown = CliRunner().invoke(app, ["evaluate", str(folder), "fer2013"])
    assert shown.exit_code == 0, shown.output
    assert "ten crops" in shown.stdout
    assert "confusion: true classes in rows" in shown.stdout
    assert "these images were opened: once" in shown.stdout
    found = json.loads(CliRunner().invoke(app, ["evaluate", str(folder), "fer2013", "--json"]).stdout)
    assert (found["openings"], len(found["ledger"])) == (2, 2)
    assert CliRunner().invoke(app, ["evaluate", str(folder / "nowhere"), "fer2013"]).exit_code == 2
    for more in ([], ["--protocol"]):
        refused = CliRunner().invoke(app, ["evaluate", str(folder), "fer2013", "--device", "foo", *more])
        assert (refused.exit_code, "--device must be cpu" in refused.stderr) == (2, True)
