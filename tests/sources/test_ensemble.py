"""Ensembles: chosen on validation, trained through the runner, tested once."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fer_tune import api
from fer_tune.cli.app import app
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.data.spec import DataSpec
from fer_tune.errors import DataError, StorageError, StudyError
from fer_tune.job import Job
from fer_tune.jobs import Observer, Plan
from fer_tune.settings import Settings
from fer_tune.sources.ensemble import EnsembleFit, run_ensemble
from fer_tune.sources.final import Request
from fer_tune.sources.members import choose_members
from fer_tune.sources.retrain import run_final_fits
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store
from fer_tune.store.openings import Openings
from fer_tune.study import Counts
from fer_tune.sweep.schema import Sweep
from fer_tune.sweep.space import Fixed, Parameter
from fer_tune.train.ensemble import Ensemble, save_ensemble
from tests.jobs.helpers import INLINE, real_sweep
from tests.model_folder import untrained
from tests.sources.conftest import Once
from tests.sources.test_retrain import Heard

IMAGES = np.random.default_rng(0).integers(0, 255, (5, 48, 48), dtype=np.uint8)


class Studies(Observer):
    """Records the studies of what is opened, with the complete jobs, and of what starts."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, int]] = []
        self.started: list[str] = []
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def study_opened(self, plan: Plan, counts: Counts, workers: object) -> None:
        self.opened.append((plan.study, counts.complete))

    def job_started(self, job: Job, worker: object, lane: int = 0) -> None:
        self.started.append(job.study)


def small(study: str, **changes: object) -> Sweep:
    """Returns a sweep of two trials that are too short to learn much."""
    sweep = real_sweep(1)
    slow = {**sweep.space, "lr": Parameter("lr", "lr", Fixed(3e-4))}
    return replace(sweep, study=study, space=slow, budget=sweep.budget.model_copy(update={"trials": 2}), **changes)  # type: ignore[arg-type]


@pytest.fixture
def searched(once: Once) -> Settings:
    """Returns the settings of two studies with two complete trials each."""
    sweeps = [small("one"), small("two", seed=9)]
    return once("two studies", lambda settings: run_sweeps(sweeps, settings, INLINE))


def assembled(settings: Settings, **how: object) -> EnsembleFit:
    found = run_ensemble(["one", "two"], settings, INLINE, **how)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_members_are_trained_and_test_is_opened_once(searched: Settings) -> None:
    found = assembled(searched, size=3)
    members = found.chosen.members
    assert sum(one.weight for one in members) == len(found.fits) == 3
    assert len({fit.job for fit in found.fits}) == 3, "a trial that was chosen twice has two networks"
    of_trial = {(fit.study, fit.trial): fit.seed for fit in reversed(found.fits)}
    assert of_trial == {(one.study, one.trial): 9 if one.study == "two" else 1 for one in members}
    assert len(found.chosen.candidates) == 4
    assert found.tested is not None
    assert set(found.tested.views) == set(found.tested.beside) == {"none", "flip"}
    assert [opening.purpose for opening in found.tested.ledger] == ["ensemble"]
    with Store.of(searched) as store:
        jobs = [job for study in ("one", "two") for job in store.jobs.of(study, "final")]
        assert {(job.study, job.origin["trial"]) for job in jobs} >= {(one.study, one.trial) for one in members}
        assert {job.fit for job in jobs} == {"train+val"}
        assert not store.ledger.of_study("one")
    metrics = json.loads((found.folder / "metrics.json").read_text())
    assert metrics["test"]["plain"]["accuracy"] == found.tested.views["none"].scores.accuracy
    assert set(metrics["test_of_single"]) == {"plain", "flip"}
    assert metrics["validation"]["ensemble"] == found.chosen.choice.honest


def test_images_that_the_cache_lost_are_loaded_again_before_the_choice(searched: Settings) -> None:
    for folder in searched.cache.iterdir():
        shutil.rmtree(folder)
    heard = Studies()
    found = run_ensemble(["one", "two"], searched, INLINE, observer=heard, size=2)
    assert found is not None
    assert len(found.chosen.candidates) == 4
    assert heard.notes == ["one: its images are not in the cache any more. They are loaded again."]


def test_members_share_a_device_in_lanes(searched: Settings) -> None:
    found = run_ensemble(["one"], searched, replace(INLINE, lanes=2), size=2, test=False)
    assert found is not None
    with Store.of(searched) as store:
        fits = {job.uid for job in store.jobs.of("one", "final")}
        lanes = {one.lane for one in store.jobs.attempts("one") if one.job in fits}
    assert lanes == {0, 1}


def test_members_of_several_studies_train_side_by_side(searched: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.of(searched) as store:
        chosen = choose_members(store, ["one", "two"], 4)
    first = {one.record.name: place for place, one in reversed(list(enumerate(chosen.candidates)))}
    choice = replace(chosen.choice, weights={first["one"]: 2, first["two"]: 2}, single=first["one"])
    monkeypatch.setattr(
        "fer_tune.sources.ensemble.choose_members", lambda store, studies, size: replace(chosen, choice=choice)
    )
    heard = Studies()
    found = run_ensemble(["one", "two"], searched, replace(INLINE, lanes=2), size=4, test=False, observer=heard)
    assert found is not None
    assert [fit.study for fit in found.fits] == ["one", "one", "two", "two"]
    assert heard.started == ["one", "two", "one", "two"]
    assert heard.opened == [("one", 0), ("two", 2)], "the mirror of the second study copies its fits"


def test_a_single_one_that_is_a_member_and_one_that_is_beside_make_two_ensembles(searched: Settings) -> None:
    """They train the same networks, but average others."""
    with Store.of(searched) as store:
        chosen = choose_members(store, ["one"], 2)

    def id_of(weights: dict[int, int], single: int) -> str:
        return replace(chosen, choice=replace(chosen.choice, weights=weights, single=single)).identity(None)

    different = [({0: 1}, 1), ({0: 1, 1: 1}, 1), ({0: 1, 1: 1}, 0), ({0: 1, 1: 2}, 1), ({1: 1}, 0)]
    assert len({id_of(*one) for one in different}) == len(different)
    assert id_of({0: 1, 1: 1}, 1) == id_of({1: 1, 0: 1}, 1)


def test_a_call_that_leaves_test_closed_keeps_the_figures_on_test(searched: Settings) -> None:
    path = assembled(searched, size=3).folder / "metrics.json"
    before = json.loads(path.read_text())
    assert set(before) >= {"test", "test_of_single", "test_images", "test_openings", "test_ledger"}
    assert assembled(searched, size=3, test=False).tested is None
    assert json.loads(path.read_text()) == before
    path.write_text(json.dumps(before | {"ensemble": "another"}))
    assembled(searched, size=3, test=False)
    assert "test" not in json.loads(path.read_text()), "they are not this ensemble's"


def test_its_folder_is_a_model_of_its_own(searched: Settings) -> None:
    found = assembled(searched, size=3, test=False)
    assert found.tested is None
    model = api.load_model(found.folder)
    assert isinstance(model, Ensemble)
    alone = [api.load_model(fit.folder).predict(IMAGES, "flip") for fit in found.fits]
    assert np.allclose(model.predict(IMAGES, "flip"), sum(alone) / 3, atol=1e-6)
    with np.load(assembled(searched, size=3).folder / "predictions.npz") as file:
        assert set(file) == {"index", "label", "plain", "flip"}


def test_fits_on_training_images_may_be_members_and_equal_fits_are_not_repeated(searched: Settings) -> None:
    request = Request(trial=0, on="train", test=False, changes={"lr": 3e-3}, epochs=3)
    better = run_final_fits("one", request, searched, INLINE)
    assert better is not None
    with Store.of(searched) as store:
        chosen = choose_members(store, ["one"], 2)
    assert len(chosen.candidates) == 3
    assert [(one.trial, dict(one.changes), one.weight) for one in chosen.members] == [(0, {"lr": 3e-3}, 2)]
    again = run_final_fits("one", replace(request, on="train+val", test=True, epochs=None), searched, INLINE)
    assert again is not None
    heard = Heard()
    found = run_ensemble(["one"], searched, INLINE, size=2, observer=heard)
    assert found is not None
    assert {row[0] for row in heard.rows} == {2}, "the fit under seed 1 was there"
    assert found.fits[0].job == again[0].job
    assert "test" in json.loads((again[0].folder / "metrics.json").read_text()), "its figures are kept"


def test_finished_fits_keep_their_calibration_and_their_figures(searched: Settings) -> None:
    """A later fit on training images would give them another temperature."""
    with Store.of(searched) as store:
        chosen = choose_members(store, ["one"], 2).members[0].trial
    fits = run_final_fits("one", Request(trial=chosen, seeds=2, test=False), searched, INLINE)
    assert fits is not None
    first = run_ensemble(["one"], searched, INLINE, size=2)
    assert first is not None
    assert {fit.job for fit in first.fits} & {fit.job for fit in fits}, "a fit of retrain is a member"
    before = _files_of(first)
    for trial in (0, 1):
        assert run_final_fits("one", Request(trial=trial, on="train", test=False), searched, INLINE)
    again = _same_members(searched, first)
    assert [fit.job for fit in again.fits] == [fit.job for fit in first.fits]
    assert _files_of(again) == before
    assert [fit.calibration for fit in again.fits] == [fit.calibration for fit in first.fits]
    (first.fits[0].folder / "calibration.json").write_text("[]")
    with pytest.raises(StorageError, match=r"calibration\.json is damaged"):
        _same_members(searched, first)


def _same_members(settings: Settings, first: EnsembleFit) -> EnsembleFit:
    """Assembles an ensemble again, although there are more candidates now."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fer_tune.sources.ensemble.choose_members", lambda store, studies, size: first.chosen)
        found = run_ensemble(["one"], settings, INLINE, size=2, test=False)
    assert found is not None
    return found


def _files_of(fit: EnsembleFit) -> dict[Path, bytes]:
    folders = [fit.folder, *(one.folder for one in fit.fits)]
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*.json")}


def test_an_interrupted_ensemble_is_continued_and_a_finished_one_is_not_trained_again(searched: Settings) -> None:
    stop = Heard(lambda job, row: signal.raise_signal(signal.SIGINT))
    assert run_ensemble(["one", "two"], searched, INLINE, observer=stop, size=3) is None
    split = _split(searched)
    assert Openings(searched.root).of_split(split) == []
    first = assembled(searched, size=3)
    heard = Heard()
    second = assembled(searched, size=3, observer=heard)
    assert heard.rows == []
    assert second.id == first.id
    assert len(Openings(searched.root).of_split(split)) == 1, "the same ensemble counts once"


def _split(settings: Settings) -> str:
    with Store.of(settings) as store:
        return store.studies.get("one").split.hash


def test_studies_with_other_splits_or_without_predictions_are_refused(searched: Settings) -> None:
    other = small("other", split=small("x").split.model_copy(update={"seed": 7}))
    run_sweeps([other], searched, INLINE)
    with Store.of(searched) as store:
        with pytest.raises(StudyError, match="different splits"):
            choose_members(store, ["one", "other"], 3)
        with pytest.raises(StudyError, match="no study nonesuch"):
            choose_members(store, ["nonesuch"], 3)
        for file in searched.artifacts.rglob("val_logits.npy"):
            file.unlink()
        with pytest.raises(StudyError, match="has stored predictions"):
            choose_members(store, ["one"], 3)


@pytest.mark.usefixtures("trained_here")
def test_the_command_prints_both_figures(searched: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", searched.url)
    words = ["ensemble", "--studies", "one,two", "--size", "2", "--devices", "cpu", "--wandb", "disabled"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "validation, cross-fitted" in shown.stdout
    assert "best single" in shown.stdout
    [headings] = [line for line in shown.stdout.splitlines() if "networks" in line and "changes" in line]
    assert headings.split()[-1] == "validation", "members of `retrain --on train` are not of a search"
    assert "test images of this split were opened: once" in shown.stdout
    wrong = CliRunner().invoke(app, ["ensemble", "--studies", "one,tow"])
    assert (wrong.exit_code, "There is no study tow" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", StorageError),
        ("[]", StorageError),
        ('{"format": 1, "members": []}', StorageError),
        ('{"format": 1, "members": [{"folder": "../x", "weight": 1}]}', StorageError),
        ('{"format": 1, "members": [{"folder": "x", "weight": -1}]}', StorageError),
        ('{"format": 99, "members": [{"folder": "x", "weight": 1}]}', DataError),
        ('{"format": 1, "members": [{"folder": "x", "weight": 1}]}', DataError),
    ],
)
def test_a_damaged_folder_is_said(tmp_path: Path, content: str, error: type[Exception]) -> None:
    (tmp_path / "ensemble.json").write_text(content)
    with pytest.raises(error) as caught:
        api.load_model(tmp_path)
    assert "`fer-tune ensemble`" in str(caught.value)
    assert "`fer-tune retrain`" not in str(caught.value)


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors", "calibration.json", "format"])
def test_a_damaged_member_says_what_makes_the_ensemble_again(tmp_path: Path, damage: str) -> None:
    spec = DataSpec(EMOTIONS, 48, 1)
    members = [(untrained(tmp_path / str(place), spec), 1) for place in range(2)]
    save_ensemble(tmp_path / "E", members, {})
    assert len(Ensemble.load(tmp_path / "E").members) == 2
    member = tmp_path / "E" / "member-1"
    if damage == "format":
        (member / "config.json").write_text('{"format": 1}')
    else:
        (member / damage).write_text("{")
    with pytest.raises((DataError, StorageError), match="member-1") as caught:
        Ensemble.load(tmp_path / "E")
    assert "Run `fer-tune ensemble` again" in caught.value.hint
    (member / damage).unlink(missing_ok=True)
    (member / "config.json").unlink(missing_ok=True)
    with pytest.raises(DataError, match="is not a model folder") as caught:
        Ensemble.load(tmp_path / "E")
    assert "Run `fer-tune ensemble` again" in caught.value.hint
