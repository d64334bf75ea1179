"""From a sweep to a prediction, by the commands alone, on a very small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from fer_tune.cli.app import app
from fer_tune.data.dataset import Dataset
from fer_tune.settings import Settings
from tests.mirror.reading import offline

SWEEP = """
study: whole
family: simple_cnn
sampler: random
budget: {trials: 2, epochs: 1}
params:
  lr: {low: 1e-3, high: 1e-2, log: true}
  width: 8
"""


def fer_tune(*words: object) -> Result:
    answer = CliRunner().invoke(app, [str(word) for word in words])
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.output
    return answer


@pytest.fixture
def folder(demo: Dataset, tmp_path: Path) -> Path:
    """The tiny faces as a folder tree of PNG files."""
    root = tmp_path / "faces"
    for index, (image, label) in enumerate(zip(demo.images, demo.labels, strict=True)):
        place = root / "train" / ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")[int(label)]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(image)).save(place / f"{index}.png")
    return root


def test_run_best_retrain_predict(folder: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "whole.yaml"
    sweep.write_text(SWEEP)
    words = ("run", sweep, "--data", folder, "--engine", "inline", "--devices", "cpu", "--wandb", "disabled")
    first = fer_tune(*words, "--trials", 1)
    assert first.exit_code == 0, first.output
    assert "1 trial (1 complete" in first.stdout
    assert "trial 0 complete" in first.stdout
    folder = folder.rename(tmp_path / "moved")  # the same images at another path continue the study
    words = ("run", sweep, "--data", folder, *words[4:])
    second = fer_tune(*words)
    assert second.exit_code == 0
    assert "1 of 2 trials finished" in second.stdout
    assert fer_tune(*words, "--quiet").stdout == ""
    events = [json.loads(line) for line in fer_tune(*words, "--json-lines").stdout.splitlines()]
    assert [event["event"] for event in events] == ["study_opened", "study_closed", "run_ended"]
    assert events[0]["counts"]["complete"] == 2
    assert fer_tune(*words, "--json-lines", "--quiet").exit_code == 2

    [best] = json.loads(fer_tune("best", "--json").stdout)["trials"]
    out = tmp_path / "storage" / "artifacts" / "model"
    retrained = fer_tune("retrain", "--out", out, "--devices", "cpu", "--tta", "flip", "--wandb", "disabled")
    assert retrained.exit_code == 0, retrained.output
    assert "test images of this split were opened: once" in retrained.stdout
    assert f"next: fer-tune predict {out} IMAGE\n      fer-tune report --study whole\n" in retrained.stdout
    assert json.loads((out / "metrics.json").read_text())["trial"] == best["number"]
    assert (out / "confusion.png").stat().st_size > 10_000
    assert "whole: 0 runs are on wandb: offline files in" in fer_tune("sync").stdout  # they ran with `--wandb disabled`
    synced = fer_tune("sync", "--include-disabled")
    assert synced.exit_code == 0, synced.output
    assert "whole: 3 runs are on wandb: offline files in" in synced.stdout
    assert "wandb login" in synced.stderr
    runs = {run.job_type: run for run in offline(Settings.from_environment()).values()}
    assert sorted(runs["final"].artifacts) == ["whole-confusion", "whole-model"]
    assert len(runs["final"].rows) == 1
    assert len(runs["search"].rows) == 1

    image = next((folder / "train" / "happy").iterdir())
    [answer] = json.loads(fer_tune("predict", out, image, "--json").stdout)
    assert answer["class"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert "happy" in fer_tune("predict", out, image, "--tta", "flip").stdout  # at least as the file's folder


def test_data_counts_what_is_there(folder: Path) -> None:
    found = json.loads(fer_tune("data", folder, "--json").stdout)
    assert found["images"] == 140
    assert found["classes"]["happy"] == 20
    assert found["blank"] == 0
    assert "140 images of 48×48" in fer_tune("data", folder).stdout


@pytest.mark.usefixtures("trained_here")
def test_predict_writes_a_submission_and_a_sheet(folder: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "whole.yaml"
    sweep.write_text(SWEEP)
    fer_tune("run", sweep, "--data", folder, "--engine", "inline", "--devices", "cpu", "--wandb", "disabled")
    model = tmp_path / "model"
    untested = fer_tune("retrain", "--out", model, "--devices", "cpu", "--on", "all", "--wandb", "disabled")
    assert untested.exit_code == 0, untested.output
    assert "the test images were trained on, so this model was not tested" in untested.stdout
    assert "test" not in json.loads((model / "metrics.json").read_text())
    test = tmp_path / "test.csv"
    test.write_text("pixels\n" + "\n".join(" ".join([str(value)] * 2304) for value in (0, 90, 200)) + "\n")
    submission, sheet = tmp_path / "submission.csv", tmp_path / "sheet.png"
    shown = fer_tune("predict", model, test, "--out", submission, "--sheet", sheet)
    assert shown.exit_code == 0, shown.output
    lines = submission.read_text().splitlines()
    assert lines[0] == "id,emotion"
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "1", "2"]
    assert all(line.split(",")[1] in "0123456" for line in lines[1:])
    assert sheet.stat().st_size > 500
    counted = fer_tune("predict", model, folder)
    assert "140 images" in counted.stdout
    assert fer_tune("predict", model, tmp_path / "*.jpg").exit_code == 2
