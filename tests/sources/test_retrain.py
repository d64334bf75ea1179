"""Tests of final fits, which the runner supervises, records and continues like trials."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from fer_tune import api
from fer_tune.api import load_model
from fer_tune.cli.app import app
from fer_tune.errors import DataError, SettingsError, StorageError, StudyError, TrainingError
from fer_tune.job import EpochRow, Job, JobEnd
from fer_tune.jobs import Ended, Observer
from fer_tune.settings import Settings
from fer_tune.sources import final_result
from fer_tune.sources.calibrate import alike
from fer_tune.sources.final import FinalFits, Request
from fer_tune.sources.final_result import FinalFit, nearest_to_median
from fer_tune.sources.retrain import run_final_fits
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store
from fer_tune.store.openings import Openings
from fer_tune.sweep.schema import PrunerSpec
from tests.jobs.helpers import INLINE, LOCAL, Notebook, real_sweep
from tests.pool.trainers import Obedient, obedient
from tests.searches import make_sweep
from tests.sources.conftest import Once


class Heard(Observer):
    """Records what happens to fits, and calls `act` after each epoch."""

    def __init__(self, act: Callable[[Job, EpochRow], None] = lambda job, row: None) -> None:
        self.rows: list[tuple[int, int, int, bool]] = []
        self.ended: list[Ended] = []
        self.notes: list[str] = []
        self.workers: list[int] = []
        self._act = act

    def note(self, text: str) -> None:
        self.notes.append(text)

    def job_started(self, job: Job, worker: Any, lane: int = 0) -> None:
        self.workers.append(worker.index)

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        self.rows.append((job.seed, row.attempt, row.epoch, replayed))
        self._act(job, row)

    def job_ended(self, job: Job, ended: Ended) -> None:
        self.ended.append(ended)


@pytest.fixture
def searched(once: Once) -> Settings:
    """Returns the settings of a study with one complete trial of two epochs."""
    return once("one trial", lambda settings: run_sweeps([real_sweep(2)], settings, INLINE))


KINDS = {"model", "config", "calibration", "epochs", "metrics"}
"""Files of each fit. One that was tested has more."""


def fitted(settings: Settings, request: Request, observer: Observer | None = None) -> tuple[FinalFit, ...]:
    found = run_final_fits("s", request, settings, INLINE, observer=observer)
    assert found is not None
    return found


def split_of(settings: Settings) -> str:
    with Store.of(settings) as store:
        return store.studies.get("s").split.hash


def openings(settings: Settings) -> list[str | None]:
    with Store.of(settings) as store:
        return [entry.job for entry in store.ledger.of_study("s")]


def test_a_fit_is_recorded_like_a_trial(searched: Settings) -> None:
    heard = Heard()
    (fit,) = fitted(searched, Request(epochs=3), heard)
    assert [row[:3] for row in heard.rows] == [(1, 0, 1), (1, 0, 2), (1, 0, 3)]
    with Store.of(searched) as store:
        (job,) = store.jobs.of("s", "final")
        assert (job.uid, job.state, job.schedule, job.fit) == (fit.job, "complete", 3, "train+val")
        assert [row.epoch for row in store.epochs.curve("s", fit.job)] == [1, 2, 3]
        (attempt,) = store.jobs.attempts("s", fit.job)
        assert (attempt.status, attempt.parameters) == ("completed", fit.parameters)
        kinds = {file.kind for file in store.artifacts.of("s", fit.job)}
    assert kinds == {*KINDS, "predictions", "confusion_png", "confusion", "report"}
    assert not list(searched.checkpoints.rglob("*.safetensors"))
    assert openings(searched) == [fit.job]


def test_seeds_are_fits_of_their_own(searched: Settings) -> None:
    one, two = fitted(searched, Request(seeds=2))
    assert (one.seed, two.seed) == (1, 2)
    assert one.folder != two.folder
    assert one.rows[0].train_loss != two.rows[0].train_loss
    assert (one.openings, two.openings) == (1, 2)


def test_seeds_share_a_device_in_lanes(searched: Settings) -> None:
    options = replace(INLINE, lanes=2)
    found = run_final_fits("s", Request(seeds=2, epochs=1, test=False), searched, options)
    assert found is not None
    with Store.of(searched) as store:
        assert {one.lane for fit in found for one in store.jobs.attempts("s", fit.job)} == {0, 1}


def test_seeds_run_side_by_side_on_several_workers(searched: Settings) -> None:
    heard = Heard()
    request = Request(seeds=2, changes={"seconds": 3.0})
    with pytest.raises(Exception, match=r"config\.json"):  # the stand-in leaves no model to be evaluated
        run_final_fits("s", request, searched, replace(LOCAL, workers=2), observer=heard, trainer=Obedient)
    assert sorted(heard.workers) == [0, 1]
    assert sorted(row[0] for row in heard.rows) == [1, 1, 2, 2]


def test_a_trial_that_was_pruned_is_named_before_it_is_trained(once: Once) -> None:
    median = PrunerSpec("median", {"n_startup_trials": 1, "n_warmup_steps": 0, "interval_steps": 1, "n_min_trials": 1})
    sweep = make_sweep(start=[{"value": 0.8}, {"value": 0.1}], budget=2, pruner=median)
    searched = once("a pruned trial", lambda settings: run_sweeps([sweep], settings, INLINE, trainer=obedient))
    said: list[str] = []
    heard = Heard(lambda job, row: said.extend(heard.notes))
    with pytest.raises(DataError, match=r"config\.json"):  # the stand-in leaves no model to be evaluated
        run_final_fits("s", Request(trial=1, epochs=1), searched, INLINE, observer=heard, trainer=obedient)
    pruned = "Trial 1 was pruned at epoch 1 of 3, so its configuration was never trained to the end."
    assert said == [f"{pruned} --no-test leaves the test images closed."]
    for trial, expected in ((1, [pruned]), (0, [])):
        heard = Heard()
        request = Request(trial=trial, epochs=1, test=False)
        assert run_final_fits("s", request, searched, INLINE, observer=heard, trainer=obedient)
        assert heard.notes == expected


def test_the_same_seed_gives_the_same_fit(searched: Settings) -> None:
    (first,), (second,) = fitted(searched, Request()), fitted(searched, Request())
    assert first.job != second.job
    assert [row.train_loss for row in first.rows] == [row.train_loss for row in second.rows]
    assert openings(searched) == [first.job, second.job]


def test_an_interrupted_fit_is_continued_by_the_same_request(searched: Settings) -> None:
    def interrupt(job: Job, row: EpochRow) -> None:
        if row.epoch == 2:
            signal.raise_signal(signal.SIGINT)

    assert run_final_fits("s", Request(epochs=5), searched, INLINE, observer=Heard(interrupt)) is None
    assert openings(searched) == [], "an interrupted fit opened test"
    with Store.of(searched) as store:
        assert [job.state for job in store.jobs.of("s", "final")] == ["queued"]
    heard = Heard()
    (fit,) = fitted(searched, Request(epochs=5), heard)
    assert [row[1:] for row in heard.rows] == [(1, 1, True), (1, 2, True), (1, 3, False), (1, 4, False), (1, 5, False)]
    assert openings(searched) == [fit.job]
    (calm,) = fitted(searched, Request(epochs=5))
    assert [row.train_loss for row in calm.rows] == [row.train_loss for row in fit.rows], "not equal bit for bit"


KILLED = textwrap.dedent(
    """
    import sys
    from dataclasses import replace
    from pathlib import Path
    from fer_tune.settings import Settings
    from fer_tune.sources import final_job
    from fer_tune.sources.final import Request
    from fer_tune.sources.retrain import run_final_fits
    from tests.jobs.helpers import LOCAL
    from tests.sources.test_retrain import Heard

    final_job.checkpoint_seconds = lambda record: 0.0
    settings = Settings(Path(sys.argv[1]), *sys.argv[2:])
    heard = Heard(lambda job, row: print(row.epoch, flush=True))
    run_final_fits("s", Request(epochs=9), settings, replace(LOCAL, workers=1), observer=heard)
    """
)


@pytest.mark.slow  # the short campaign of kills does the same
def test_a_fit_that_was_killed_is_continued_from_its_checkpoint(searched: Settings) -> None:
    """After SIGKILL, the same call continues the fit, and test is opened once."""
    command = [sys.executable, "-c", KILLED, str(searched.root), searched.url, str(searched.data_source)]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = dict(os.environ, PYTHONPATH=path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line == "4\n")
        process.kill()
    heard = Heard()
    (fit,) = fitted(searched, Request(epochs=9), heard)
    assert sum(replayed for *_, replayed in heard.rows) >= 1, "it started again from the first epoch"
    assert [row.epoch for row in fit.rows] == list(range(1, 10))
    assert openings(searched) == [fit.job]
    with Store.of(searched) as store:
        assert [attempt.status for attempt in store.jobs.attempts("s", fit.job)] == ["lost", "completed"]


def test_a_fit_that_was_killed_while_it_was_evaluated_opens_test_once(
    searched: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fer_tune.sources import final_result as evaluate

    whole = evaluate.write_files

    def killed(fit: FinalFit) -> dict[str, Path]:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "write_files", killed)
    assert run_final_fits("s", Request(), searched, INLINE) is None
    assert len(openings(searched)) == 1
    monkeypatch.setattr(evaluate, "write_files", whole)
    heard = Heard()
    (fit,) = fitted(searched, Request(), heard)
    assert heard.rows == [], "it was trained again"
    assert openings(searched) == [fit.job]


def test_a_trained_model_waits_for_a_full_disk(searched: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A campaign of kills found a fit that failed for good because the disk was full for 4 s."""
    from fer_tune.train import training

    whole, refused = training.save_model, [1, 2]

    def save(*words: Any) -> None:
        if refused:
            refused.pop()
            raise StorageError("the disk is full")
        whole(*words)

    monkeypatch.setattr(training, "save_model", save)
    monkeypatch.setattr(training, "SAVE_PAUSE", 0.01)
    (fit,) = fitted(searched, Request())
    assert refused == []
    assert (fit.folder / "model.safetensors").is_file()


def test_two_requests_at_once_have_fits_and_folders_of_their_own(searched: Settings) -> None:
    """The second request finds unfinished fits of the first one, whose lock is held."""
    with Store.of(searched) as store:
        first, second = (FinalFits(store, searched, "s", Request()) for _ in range(2))
        try:
            assert first.next().uid != second.next().uid
            assert first.jobs[0].artifacts != second.jobs[0].artifacts
            assert first.jobs[0].checkpoint != second.jobs[0].checkpoint
        finally:
            first.lock.release()
            second.lock.release()


def test_a_worker_that_dies_costs_an_attempt(searched: Settings) -> None:
    heard = Heard()
    options = replace(LOCAL, workers=1)
    request = Request(changes={"die": 2, "deaths": 1})
    with pytest.raises(Exception, match=r"config\.json"):  # the stand-in leaves no model to be evaluated
        run_final_fits("s", request, searched, options, observer=heard, trainer=Obedient)
    assert [(row[1], row[2]) for row in heard.rows] == [(0, 1), (1, 1), (1, 2)]
    assert [ended.state for ended in heard.ended] == ["complete"]


class TooLarge(Obedient):
    """A trainer for which no job fits into memory."""

    def train(self, spec: Job, stop_requested: Callable[[], int]) -> Iterator[EpochRow | JobEnd]:
        yield JobEnd(spec.uid, spec.attempt, "failed", "vgg does not fit into memory", infeasible=0.5)


def test_a_fit_that_fails_says_what_to_do(searched: Settings) -> None:
    with pytest.raises(TrainingError, match="does not fit into memory") as caught:
        run_final_fits("s", Request(), searched, INLINE, trainer=TooLarge)
    assert "--set width=" in caught.value.hint
    assert openings(searched) == []


def test_without_test_nothing_is_opened_and_the_model_is_there(searched: Settings) -> None:
    (fit,) = fitted(searched, Request(test=False))
    assert (fit.tested, fit.openings, openings(searched)) == (None, 0, [])
    assert Openings(searched.root).of_split(split_of(searched)) == []
    with Store.of(searched) as store:
        assert {file.kind for file in store.artifacts.of("s", fit.job)} == KINDS
    assert "test" not in json.loads((fit.folder / "metrics.json").read_text())
    with pytest.raises(TrainingError, match="was not tested"):
        _ = fit.plain
    assert fitted(searched, Request(test=False))[0].job != fit.job, "a finished request is not repeated"


def test_a_fit_on_the_training_part_is_evaluated_on_validation(searched: Settings) -> None:
    (fit,) = fitted(searched, Request(on="train", test=False))
    with Store.of(searched) as store:
        counts = store.studies.get("s").split.counts
        (job,) = store.jobs.of("s", "final")
        logits = np.load(fit.folder / "val_logits.npy")
    assert (fit.on, fit.images) == ("train", counts["train"])
    assert fit.figure == fit.rows[-1].val_accuracy == job.value
    assert len(logits) == counts["val"]
    assert fit.calibration is not None
    assert fit.calibration.source == fit.job
    assert (fit.folder / "model.safetensors").is_file()


def test_a_fit_on_all_images_is_an_opening_and_is_not_tested(searched: Settings) -> None:
    (fit,) = fitted(searched, Request(on="all"))
    with Store.of(searched) as store:
        counts = store.studies.get("s").split.counts
    assert (fit.on, fit.images, fit.tested) == ("all", sum(counts.values()), None)
    [opening] = Openings(searched.root).of_split(split_of(searched))
    assert (opening.model, opening.purpose, opening.result) == (fit.job, "training on all images", {})


def test_the_model_nearest_the_median_is_kept(searched: Settings, tmp_path: Path) -> None:
    found = run_final_fits("s", Request(seeds=3), searched, INLINE, out=tmp_path / "mine")
    assert found is not None
    middle = sorted(fit.plain.scores.accuracy for fit in found)[1]
    kept = nearest_to_median(found)
    assert kept.plain.scores.accuracy == middle
    assert json.loads((tmp_path / "mine" / "metrics.json").read_text())["job"] == kept.job


@pytest.mark.parametrize("figures", [(0.6885, 0.6879), (0.1, 0.3), (0.7, 0.1)])
def test_two_seeds_are_as_near_to_the_median_and_the_first_is_kept(figures: tuple[float, float]) -> None:
    fits: Any = [SimpleNamespace(figure=figure, seed=seed) for seed, figure in enumerate(figures)]
    assert nearest_to_median(fits).seed == nearest_to_median(fits[::-1]).seed == 0


@pytest.mark.usefixtures("trained_here")
def test_several_seeds_without_test_have_a_mean_on_validation(
    searched: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", searched.url)
    words = ["retrain", "s", "--no-test", "--on", "train", "--seeds", "2", "--tta", "crops", "--epochs", "1"]
    shown = CliRunner().invoke(app, [*words, "--devices", "cpu", "--wandb", "disabled"])
    assert shown.exit_code == 0, shown.output
    lines = [line for line in shown.stdout.splitlines() if "mean of 2 seeds" in line]
    views = [line.split(", mean of 2 seeds: ")[0] for line in lines]
    assert views == ["validation, ten crops", "validation, plain", "validation, flip-averaged"]
    assert all("s.d." in line for line in lines)


def test_calibration_is_fitted_to_validation_and_used_by_the_model(searched: Settings) -> None:
    (fit,) = fitted(searched, Request())
    known = fit.calibration
    assert known is not None
    with Store.of(searched) as store:
        trial = store.jobs.find_trial("s", 0)
    assert trial is not None
    assert known.source == trial.uid
    assert known.temperature > 0
    model = load_model(fit.folder)
    assert model.temperature == known.temperature
    images = np.random.default_rng(0).integers(0, 255, (5, 48, 48), dtype=np.uint8)
    calibrated, model.temperature = model.predict(images), 1.0
    assert calibrated.argmax(1).tolist() == model.predict(images).argmax(1).tolist()


def test_a_fit_on_training_images_says_on_validation_which_views_are_best(searched: Settings) -> None:
    (fit,) = fitted(searched, Request(on="train", test=False, tta="crops"))
    assert set(fit.validated) == {"none", "flip", "crops"}
    assert fit.validated["none"].scores.accuracy == pytest.approx(fit.rows[-1].val_accuracy)
    metrics = json.loads((fit.folder / "metrics.json").read_text())
    assert metrics["validation"]["crops"]["accuracy"] == fit.validated["crops"].scores.accuracy
    (other,) = fitted(searched, Request(test=False))
    assert other.validated == {}, "validation images were trained on"
    assert openings(searched) == []


def test_a_fit_with_changes_is_calibrated_by_a_fit_with_the_same_changes(searched: Settings) -> None:
    changed = Request(on="train", test=False, epochs=3, changes={"crop": 40})
    (alone,) = fitted(searched, changed)
    (longer,) = fitted(searched, replace(changed, epochs=4))
    (fit,) = fitted(searched, replace(changed, on="train+val", epochs=2))
    assert fit.calibration is not None
    assert fit.calibration.source == alone.job, "its schedule is nearest"
    (fit,) = fitted(searched, replace(changed, on="train+val", epochs=5))
    assert fit.calibration is not None
    assert fit.calibration.source == longer.job


def test_a_temperature_is_not_borrowed_from_a_network_of_clearly_another_length(searched: Settings) -> None:
    """The trial has two epochs. A network that trains longer becomes surer of itself."""
    for request in (Request(test=False, epochs=5), Request(on="all", epochs=5)):
        (fit,) = fitted(searched, request)
        assert fit.calibration is None
        assert not (fit.folder / "calibration.json").exists()
    (alone,) = fitted(searched, Request(on="train", test=False, epochs=5))
    (fit,) = fitted(searched, Request(test=False, epochs=5))
    assert fit.calibration is not None
    assert fit.calibration.source == alone.job


@pytest.mark.parametrize(
    ("curve", "rule", "schedule", "until", "borrows"),
    [
        ([0.1, 0.2, 0.3, 0.4], "max", 4, None, "trial 3, 4 epochs"),
        ([0.1, 0.2, 0.3, 0.4], "max", 8, None, "trial 3, 4 epochs"),
        ([0.1, 0.2, 0.3, 0.4], "max", 9, None, None),
        ([0.9, 0.1, 0.3, 0.2], "max", 4, None, None),  # the predictions are those of epoch 1
        ([0.1, 0.9, 0.3, 0.2], "last", 4, None, "trial 3, 4 epochs"),
        ([0.1, 0.9, 0.3, 0.2], "max", 4, 1, "trial 3, epoch 2 of 4"),  # on more images
        ([0.1, 0.2, 0.3, 0.4], "max", 4, 1, None),
        ([0.1], "max", 4, None, None),  # it was pruned
    ],
)
def test_lengths_are_compared_where_the_predictions_were_made(
    curve: list[float], rule: str, schedule: int, until: int | None, borrows: str | None
) -> None:
    values = [SimpleNamespace(val_accuracy=value, epoch=place) for place, value in enumerate(curve, 1)]
    trial = SimpleNamespace(uid="t", kind="trial", number=3, schedule=4, fit="train", origin={})
    job = SimpleNamespace(uid="j", kind="final", schedule=schedule, last_epoch=until or schedule, fit="train+val")
    job.origin = {"trial": 3}
    store: Any = SimpleNamespace(
        jobs=SimpleNamespace(find_trial=lambda *_: trial, of=lambda *_: []),
        epochs=SimpleNamespace(curve=lambda study, uid: {"t": values}[uid]),
    )
    counts = {"train": 50, "val": 20, "test": 20}
    study: Any = SimpleNamespace(name="s", objective="val_accuracy", split=SimpleNamespace(counts=counts))
    study.sweep_json = {"objective_of": rule}
    found = alike(store, study, job)  # type: ignore[arg-type]
    assert (None if found is None else found.about) == borrows


def test_a_fit_with_changes_does_not_borrow_the_temperature_of_the_unchanged_trial(searched: Settings) -> None:
    (fit,) = fitted(searched, Request(test=False, epochs=1, changes={"crop": 40}))
    assert fit.calibration is None
    assert not (fit.folder / "calibration.json").exists()
    assert load_model(fit.folder).temperature == 1.0


@pytest.mark.usefixtures("trained_here")
def test_the_command_says_whose_predictions_the_temperature_was_fitted_to(
    searched: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", searched.url)

    def printed(*words: str) -> str:
        always = ["retrain", "s", "--no-test", "--devices", "cpu", "--wandb", "disabled"]
        shown = CliRunner().invoke(app, [*always, *words])
        assert shown.exit_code == 0, shown.output
        return " ".join(shown.stdout.split())

    text = printed("--epochs", "3")
    assert "by the predictions of trial 0, 2 epochs: " in text
    assert "ECE of that network" in text
    changed = ("--set", "lr=0.002", "--epochs", "1", "--until", "end")
    text = printed(*changed)
    assert "not calibrated: no network that was trained in the same way for about as long has predictions" in text
    advice = "fer-tune retrain s --trial 0 --on train --no-test --epochs 1 --until end --set lr=0.002"
    assert advice in text
    assert "of that network" not in (text := printed(*shlex.split(advice)[3:]))
    assert "by the predictions" not in text
    assert "by the predictions of a fit of trial 0 on training images, seed 1, 1 epoch: " in printed(*changed)


def test_a_crop_that_does_not_fit_the_images_starts_nothing(
    searched: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", searched.url)
    with pytest.raises(SettingsError, match="crop: must be 0, or"):
        api.retrain("s", changes=["crop=100"], devices="cpu", test=False)
    with Store.of(searched) as store:
        assert store.jobs.of("s", "final") == []


def test_crops_are_tested_if_they_are_asked_for(searched: Settings) -> None:
    (fit,) = fitted(searched, Request(tta="crops"))
    assert fit.tested is not None
    assert set(fit.tested.views) == {"none", "flip", "crops"}
    metrics = json.loads((fit.folder / "metrics.json").read_text())
    assert set(metrics["test"]) == {"plain", "flip", "crops"}
    with np.load(fit.folder / "predictions.npz") as file:
        assert (file["crops"].argmax(1) == file["label"]).mean() == pytest.approx(metrics["test"]["crops"]["accuracy"])


def test_every_figure_has_the_ledger_of_its_split(searched: Settings) -> None:
    """Over all databases of the storage folder, with what was opened before and its result."""
    other = replace(searched, url=f"sqlite:///{searched.root}/other.db")
    run_sweeps([real_sweep(2)], other, INLINE)
    (first,), (second,) = fitted(searched, Request()), fitted(other, Request())
    assert (first.openings, second.openings) == (1, 2)
    assert [opening.model for opening in second.ledger] == [first.job, second.job]
    assert second.ledger[0].result["plain"] == first.plain.scores.accuracy
    lines = json.loads((second.folder / "metrics.json").read_text())["test_ledger"]
    assert [line.split()[2:5] for line in lines] == [["s", "final", "fit"]] * 2


def test_the_meter_says_how_often_test_was_opened(searched: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", searched.url)
    before = api.overtuning("s", 0)
    assert before is not None
    assert (len(before.figures), before.openings) == (1, 0)
    fitted(searched, Request(seeds=2))
    shown = CliRunner().invoke(app, ["best", "--study", "s"])
    assert "with test opened twice by then" in " ".join(shown.stdout.split())


@pytest.mark.usefixtures("trained_here")
def test_the_meter_has_plain_figures_of_usual_fits_only(searched: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", searched.url)

    def retrain(*words: str) -> str:
        ran = CliRunner().invoke(app, ["retrain", "s", "--devices", "cpu", "--wandb", "disabled", *words])
        assert ran.exit_code == 0, ran.output
        return " ".join(ran.stdout.split())

    def accuracies() -> tuple[float, ...]:
        meter = api.overtuning("s", 0)
        assert meter is not None
        return meter.figures[-1].values

    first = retrain("--tta", "flip")
    (plain,) = accuracies()
    assert f"test {100 * plain:.2f} %" in first.partition("overtuning: ")[2]
    for words in (["--epochs", "1"], ["--on", "train"], ["--set", "crop=40"]):
        assert "overtuning" not in retrain(*words)
        assert accuracies() == (plain,)


def test_out_is_a_copy_of_the_job_s_folder(searched: Settings, tmp_path: Path) -> None:
    found = run_final_fits("s", Request(), searched, INLINE, out=tmp_path / "mine")
    assert found is not None
    names = {path.name for path in found[0].folder.iterdir()}
    assert {path.name for path in (tmp_path / "mine").iterdir()} == names


def test_the_same_call_replaces_its_copy_as_a_whole(searched: Settings, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    jobs = set()
    for _ in range(2):
        found = run_final_fits("s", Request(test=False, epochs=1), searched, INLINE, out=out)
        assert found is not None
        assert {path.name for path in out.iterdir()} == {path.name for path in found[0].folder.iterdir()}
        assert json.loads((out / "metrics.json").read_text())["job"] == found[0].job
        jobs.add(found[0].job)
        for folder in (found[0].folder, out):
            (folder / "report.json").write_text("only the first fit has one")
        (out / ".model.0123abcd.draft").mkdir()  # a killed process left it
    assert len(jobs) == 2


def test_a_folder_with_other_files_is_refused_before_the_training(searched: Settings, tmp_path: Path) -> None:
    out, untested = tmp_path / "mine", Request(test=False, epochs=1)
    run_final_fits("s", untested, searched, INLINE, out=out)
    for left, request in (("", Request(epochs=1)), ("notes.txt", untested), ("ensemble.json", untested)):
        if left:
            (out / left).write_text("{}")
        before = {path: path.read_bytes() for path in out.iterdir()}
        with pytest.raises(SettingsError, match="is not empty") as refused:
            run_final_fits("s", request, searched, INLINE, out=out, trainer=Never)
        assert refused.value.hint == "Name a new or an empty folder."
        assert {path: path.read_bytes() for path in out.iterdir()} == before
        if left:
            (out / left).unlink()
    assert openings(searched) == []


class Never:
    """No trainer: the run is refused before it makes one."""

    def __init__(self, *given: object) -> None:
        raise AssertionError("a worker was started")


def test_a_place_that_cannot_be_a_folder_is_refused_before_the_training(
    searched: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", searched.url)
    monkeypatch.chdir(tmp_path)
    Path("plainfile").write_text("")
    Path("nothing").symlink_to("nowhere")
    for out, said in (
        ("plainfile", "plainfile is not a folder"),
        ("plainfile/below", "plainfile is not a folder"),
        ("nothing", "nothing is not a folder"),
        ("a" * 5000, "File name too long"),
        ("", "out is an empty text"),
    ):
        refused = CliRunner().invoke(app, ["retrain", "s", "--out", out, "--devices", "cpu"])
        assert refused.exit_code == 2
        assert said in " ".join(refused.stderr.split())
    monkeypatch.setattr(os, "access", lambda *given, **options: False)
    with pytest.raises(StorageError, match="cannot be written"):
        run_final_fits("s", Request(), searched, INLINE, out=tmp_path / "new" / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nothing", "plainfile", "storage"]
    with Store.of(searched) as store:
        assert store.jobs.of("s", "final") == []
    assert openings(searched) == []


def test_figures_are_shown_if_only_the_copy_fails(
    searched: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", searched.url)
    evaluate = final_result.write_files

    def meanwhile(fit: FinalFit) -> dict[str, Path]:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "notes.txt").write_text("mine")
        return evaluate(fit)

    monkeypatch.setattr(final_result, "write_files", meanwhile)
    words = ["retrain", "s", "--epochs", "1", "--devices", "cpu", "--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 2
    assert "plain" in shown.stdout
    assert "macro-F1" in shown.stdout
    said = " ".join(shown.stderr.split())
    assert "The model cannot be copied to" in said
    assert "is not empty (it has notes.txt)" in said
    assert "Copy " in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_a_study_without_a_complete_trial_is_refused(searching: Settings) -> None:
    run_sweeps([make_sweep(hours=1e-9)], searching, INLINE, None, obedient)
    with pytest.raises(StudyError, match="no complete trial"):
        run_final_fits("s", Request(), searching, INLINE)
    with pytest.raises(StudyError, match="no trial 7"):
        run_final_fits("s", Request(trial=7), searching, INLINE)


def test_two_databases_in_one_folder_never_share_a_job_s_files(searching: Settings) -> None:
    """In an earlier version, a study in a second database deleted the files of the first one."""
    other = replace(searching, url=f"sqlite:///{searching.root}/other.db")
    for settings in (searching, other):
        run_sweeps([real_sweep(1)], settings, INLINE, Notebook())
    left = []
    for settings in (searching, other):
        with Store.of(settings) as store:
            (file,) = store.artifacts.of("s")
            left.append(store.artifacts.path(file))
    assert len(set(left)) == 2
    assert all(path.is_file() for path in left)


def test_a_study_that_cannot_be_written_is_retrained_into_another_folder(
    searched: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer_tune.sources.retrain.is_writable", lambda url: False)
    monkeypatch.setattr("fer_tune.store.reading.is_writable", lambda url: False)
    with pytest.raises(StorageError, match="cannot be written") as refused:
        fitted(searched, Request(epochs=1))
    assert "--out" in refused.value.hint
    before = {path: path.read_bytes() for path in searched.root.rglob("*") if path.is_file()}
    for openings_so_far in (1, 2):
        found = run_final_fits("s", Request(epochs=1), searched, INLINE, out=tmp_path / "out")
        assert found is not None
        assert found[0].openings == openings_so_far
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert {path: path.read_bytes() for path in before} == before
    own = replace(searched, root=tmp_path / "out" / "storage", url=f"sqlite:///{tmp_path}/out/storage/fer_tune.db")
    monkeypatch.undo()
    assert openings(searched) == []
    assert len(openings(own)) == 2
