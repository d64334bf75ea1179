"""Comparisons of studies, families and models that were made on paper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from fer_tune import api
from fer_tune.cli.app import app
from fer_tune.data.policy import SplitPolicy
from fer_tune.errors import DataError, StorageError, StudyError
from fer_tune.job import ObjectiveOf
from fer_tune.selection.paired import mcnemar
from fer_tune.settings import Settings
from fer_tune.sources.confirm import run_confirmations
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store
from tests.jobs.helpers import INLINE
from tests.searches import make_sweep
from tests.sources.test_confirm import SPREAD, Noisy
from tests.studies import SWEEP, make_study


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """A study whose best trial has 0.6, and one of the same family whose best has 0.9."""
    with make_study(settings) as store:
        other = SWEEP.replace("study: tiny", "study: other")
        make_study(settings, (("complete", [0.9]), ("complete", [0.2])), other).close()
        yield store


def model(folder: Path, right: list[int], images: int = 40, first: int = 0) -> Path:
    """Writes predictions for test images, some of which are right."""
    folder.mkdir()
    label = np.zeros(images, np.int64)
    plain = np.tile([[0.1, 0.9]], (images, 1)).astype(np.float32)
    plain[right] = [0.9, 0.1]
    np.savez(folder / "predictions.npz", index=np.arange(first, first + images), label=label, plain=plain)
    return folder


def test_studies_are_compared_by_their_best_trials(store: Store) -> None:
    found = api.compare("tiny", "other")
    assert (found.first.value, found.second.value, found.measure) == (0.6, 0.9, "val_accuracy")
    assert found.difference == pytest.approx(-0.3)
    assert "as independent" in found.basis
    assert found.first.about == "trial 1 of tiny, as the search measured it"
    assert (found.differ, api.compare("tiny", "tiny").differ) == (True, False)


def test_a_family_stands_for_the_best_of_its_studies(store: Store) -> None:
    found = api.compare("simple_cnn", "tiny")
    assert found.first.value == 0.9
    assert found.first.about == "trial 0 of other, the best of simple_cnn, as the search measured it"


def test_confirmed_studies_are_compared_over_seeds(searching: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", searching.url)
    for study, value in (("one", 0.5), ("two", 0.9)):
        sweep = make_sweep(study, start=[{"value": value}], budget=1, epochs=1)
        run_sweeps([sweep], searching, INLINE, None, Noisy)
        assert run_confirmations(study, searching, INLINE, trainer=Noisy, top=1, seeds=3) is not None
    found = api.compare("one", "two")
    assert (len(found.first.values), len(found.second.values)) == (3, 3)
    assert found.basis == "values alone, as independent", "the trainer leaves no predictions"
    assert found.difference == pytest.approx(-0.4)
    assert found.differ


def test_seeds_count_where_the_images_are_different(searching: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two values that differ by less than seeds do are not apart because the splits differ."""
    monkeypatch.setenv("FER_TUNE_STORAGE", searching.url)
    for study, value, seed in (("one", 0.6, 42), ("two", 0.6 + SPREAD, 7)):
        sweep = make_sweep(study, start=[{"value": value}], budget=1, epochs=1)
        sweep = replace(sweep, split=SplitPolicy(seed=seed))
        run_sweeps([sweep], searching, INLINE, None, Noisy)
        assert run_confirmations(study, searching, INLINE, trainer=Noisy, top=1, seeds=3) is not None
    found = api.compare("one", "two")
    assert found.basis == "different images, as independent"
    with Store.open(searching.url, searching.root) as store:
        images = store.studies.get("one").split.counts["val"]
    by_seed = 2 * SPREAD**2 / 3  # each side has the values -SPREAD, 0 and SPREAD beside its own
    by_image = sum(side.value * (1 - side.value) for side in (found.first, found.second)) / images
    assert found.error == pytest.approx((by_seed + by_image) ** 0.5)
    freedom = 4 * ((by_seed + by_image) / by_seed) ** 2
    assert found.p == pytest.approx(2 * stats.t.sf(SPREAD / found.error, freedom))


def test_a_family_stands_for_its_confirmed_study(searching: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure of a search flatters its trial, so it does not win over a confirmed mean."""
    monkeypatch.setenv("FER_TUNE_STORAGE", searching.url)
    for study, value in (("one", 0.5), ("two", 0.9)):
        run_sweeps([make_sweep(study, start=[{"value": value}], budget=1, epochs=1)], searching, INLINE, None, Noisy)
    assert run_confirmations("one", searching, INLINE, trainer=Noisy, top=1, seeds=2) is not None
    assert "of one, the best of simple_cnn" in api.compare("simple_cnn", "two").first.about


def test_studies_that_measure_other_epochs_are_not_compared(
    searching: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", searching.url)
    rules: tuple[tuple[str, ObjectiveOf], ...] = (("one", "max"), ("two", "mean_last"))
    for study, rule in rules:
        sweep = make_sweep(study, start=[{"value": 0.5}], budget=1, epochs=1)
        run_sweeps([replace(sweep, objective_of=rule)], searching, INLINE, None, Noisy)
    with pytest.raises(DataError, match=r"one is measured by val_accuracy, and two by val_accuracy \(mean_last\)"):
        api.compare("one", "two")


def test_all_right_on_both_sides_is_no_difference(tmp_path: Path) -> None:
    one, other = model(tmp_path / "one", list(range(40))), model(tmp_path / "other", list(range(30)), 30, first=50)
    found = api.compare(str(one), str(other))
    assert (found.difference, found.error, found.p, found.differ) == (0.0, 0.0, 1.0, False)


def test_a_confirmed_study_beside_one_that_is_not_is_compared_by_its_mean(
    searching: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", searching.url)
    for study, value in (("one", 0.5), ("two", 0.9)):
        run_sweeps([make_sweep(study, start=[{"value": value}], budget=1, epochs=1)], searching, INLINE, None, Noisy)
    assert run_confirmations("one", searching, INLINE, trainer=Noisy, top=1, seeds=3) is not None
    found = api.compare("one", "two")
    assert (len(found.first.values), len(found.second.values)) == (3, 1)
    assert found.difference == pytest.approx(found.first.value - found.second.value)
    assert found.basis == "values alone, as independent; one side has one seed"
    assert found.differ


def test_models_are_compared_image_by_image_and_need_no_database(tmp_path: Path) -> None:
    one, other = model(tmp_path / "one", list(range(30))), model(tmp_path / "other", list(range(25, 34)))
    found = api.compare(str(one), str(other))
    assert (found.measure, found.first.value, found.second.value) == ("test accuracy", 0.75, 9 / 40)
    assert found.p == mcnemar(25, 4)
    assert found.first.about == "a model, 40 test images"
    (one / "metrics.json").write_text('{"test_openings": 5}')
    assert api.compare(str(one), str(other)).first.about == "a model, 40 test images, opened 5 times by then"
    elsewhere = model(tmp_path / "elsewhere", [1], first=7)
    assert "different images" in api.compare(str(one), str(elsewhere)).basis


def test_a_trial_or_a_model_is_the_same_as_itself(store: Store, tmp_path: Path) -> None:
    one = model(tmp_path / "one", list(range(30)))
    shutil.copytree(one, tmp_path / "copy")
    pairs = [("tiny", "tiny"), ("simple_cnn", "other"), (one, one), (one, tmp_path / "copy")]
    for first, second in pairs:
        found = api.compare(str(first), str(second))
        assert (found.same, found.difference, found.error, found.p, found.differ) == (True, 0.0, 0.0, 1.0, False)
        shown = CliRunner().invoke(app, ["compare", str(first), str(second)])
        assert ("The two are the same model." in shown.stdout) == (first == one)
        assert ("The two are the same trial." in shown.stdout) == (first != one)
        assert "±" not in shown.stdout
    assert not api.compare("tiny", "other").same
    assert not api.compare(str(one), str(model(tmp_path / "other", [1]))).same


def test_what_cannot_be_compared_is_said(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="There is no study tinny"):
        api.compare("tinny", "tiny")
    with pytest.raises(StudyError, match="There is no study aaa"):
        api.compare("a" * 5000, "tiny")
    with pytest.raises(StudyError, match="no study of the family vgg"):
        api.compare("vgg", "tiny")
    with pytest.raises(DataError, match="is measured by"):
        api.compare(str(model(tmp_path / "one", [1])), "tiny")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no predictions\.npz") as caught:
        api.compare(str(tmp_path / "empty"), "tiny")
    assert "--out results/empty" in caught.value.hint, "not into the folder of the model itself"
    (tmp_path / "one" / "predictions.npz").write_bytes(b"torn")
    with pytest.raises(DataError, match="cannot be read"):
        api.compare(str(tmp_path / "one"), "tiny")


ARRAYS: dict[str, np.ndarray] = {
    "index": np.arange(4),
    "label": np.zeros(4, np.int64),
    "plain": np.full((4, 2), 0.5, np.float32),
}


def damaged(path: Path, how: str) -> None:
    """Writes a file of predictions that cannot be used."""
    changes: dict[str, dict[str, np.ndarray]] = {
        "other lengths": {"label": np.zeros(3, np.int64)},
        "one dimension": {"plain": np.zeros(4, np.float32)},
        "no class": {"plain": np.zeros((4, 0), np.float32)},
        "no image": {"index": np.arange(0), "label": np.arange(0), "plain": np.zeros((0, 2), np.float32)},
        "a number": {"index": np.array(3)},
        "words": {"plain": np.full((4, 2), "a")},
    }
    np.savez(path, **ARRAYS | changes.get(how, {}))
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[:500])
    elif how == "checksum":
        path.write_bytes(content.replace(ARRAYS["plain"].tobytes(), bytes(32)))
    elif how == "array":
        with path.open("wb") as stream:
            np.save(stream, np.zeros(3))


@pytest.mark.parametrize(
    "how",
    ["cut", "checksum", "array", "other lengths", "one dimension", "no class", "no image", "a number", "words"],
)
def test_damaged_predictions_are_said(tmp_path: Path, how: str) -> None:
    one = model(tmp_path / "one", [1])
    (tmp_path / "other").mkdir()
    damaged(tmp_path / "other" / "predictions.npz", how)
    with pytest.raises(DataError, match=r"other/predictions\.npz cannot be read") as caught:
        api.compare(str(one), str(tmp_path / "other"))
    assert "fer-tune evaluate" in caught.value.hint


def test_a_folder_without_predictions_is_said_without_a_database_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_TUNE_DIR", str(tmp_path / "storage"))
    monkeypatch.delenv("FER_TUNE_STORAGE", raising=False)
    one = model(tmp_path / "one", [1])
    (tmp_path / "CR").mkdir()
    for names in ((one, tmp_path / "CR"), (tmp_path / "CR", one)):
        with pytest.raises(DataError, match=r"CR has no predictions\.npz") as caught:
            api.compare(*map(str, names))
        assert "--out results/CR" in caught.value.hint
    with pytest.raises(StorageError, match="There is no database"):
        api.compare(str(one), "resnet")


def test_the_command_says_whether_chance_explains_it(store: Store) -> None:
    shown = CliRunner().invoke(app, ["compare", "tiny", "other"])
    assert shown.exit_code == 0, shown.output
    assert "They differ beyond chance." in shown.stdout
    assert "difference -30.00" in shown.stdout
    assert "p 0.000" not in shown.stdout
    assert '"differ": false' in CliRunner().invoke(app, ["compare", "tiny", "tiny", "--json"]).stdout
