"""Other data sets than FER2013, from `data` to `report`, by the commands alone, on a tiny scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from fer_tune.cli.app import app
from fer_tune.models import FAMILIES

FER_PLUS = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")

CASES = {
    "three classes, side 64, in colour": (("cat", "dog", "parrot"), 64, 3),
    "eight classes, side 32, grey": (FER_PLUS, 32, 1),
}


def fer_tune(*words: object) -> Result:
    answer = CliRunner().invoke(app, [str(word) for word in words])
    assert answer.exit_code == 0, answer.output
    return answer


def write_images(root: Path, classes: tuple[str, ...]) -> None:
    """Writes ten colour photographs of each class, 40×50, told apart by their tint."""
    random = np.random.RandomState(0)
    for label, name in enumerate(classes):
        (root / "train" / name).mkdir(parents=True)
        for index in range(10):
            image = random.randint(0, 120, (50, 40, 3)).astype(np.uint8)
            image[:, :, label % 3] += 100
            Image.fromarray(image).save(root / "train" / name / f"{index}.png")


@pytest.mark.usefixtures("trained_here")
@pytest.mark.parametrize(("classes", "side", "channels"), CASES.values(), ids=CASES)
def test_another_data_set_goes_from_data_to_report(tmp_path: Path, classes: tuple[str, ...], side: int, channels: int):
    write_images(tmp_path / "pets", classes)
    found = json.loads(fer_tune("data", tmp_path / "pets", "--side", side, "--channels", channels, "--json").stdout)
    assert list(found["classes"]) == list(classes)
    assert (found["height"], found["channels"], found["images"]) == (side, channels, 10 * len(classes))

    sweep = tmp_path / "pets.yaml"
    data = {"path": str(tmp_path / "pets"), "side": side, "channels": channels}
    params = {"width": 8, "batch_size": 8, "lr": {"low": 1e-3, "high": 1e-2}}
    sweep.write_text(
        json.dumps({"family": "simple_cnn", "data": data, "budget": {"trials": 1, "epochs": 1}, "params": params})
    )
    fer_tune("check", sweep)
    run = fer_tune("run", sweep, "--engine", "inline", "--devices", "cpu", "--wandb", "disabled").stdout
    assert "failed" not in run.replace("0 failed", "")
    fer_tune("retrain", "--study", "pets", "--wandb", "disabled")
    [model] = (tmp_path / "storage" / "artifacts").glob("pets-*/*/config.json")
    description = json.loads(model.read_text())
    assert description["classes"] == list(classes)
    assert (description["input"]["height"], description["input"]["channels"]) == (side, channels)

    image = next((tmp_path / "pets" / "train" / classes[0]).iterdir())
    [answer] = json.loads(fer_tune("predict", model.parent, image, "--json").stdout)
    assert sorted(answer["probabilities"]) == sorted(classes)
    fer_tune("report", "--studies", "pets", "--out", tmp_path / "report.html")
    assert all(name in (tmp_path / "report.html").read_text() for name in classes)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_images_too_small_for_a_family_are_refused_by_check(tmp_path: Path, family: str):
    smallest = FAMILIES[family].with_values({}).smallest_side
    sweep = tmp_path / "small.yaml"
    sweep.write_text(f"family: {family}\ndata: {{path: demo, side: {max(8, smallest - 1)}}}\n")
    answer = CliRunner().invoke(app, ["check", str(sweep)])
    if smallest <= 8:
        assert answer.exit_code == 0, answer.output
    else:
        assert answer.exit_code == 2
        assert f"data.side: must be at least {smallest} for {family}" in " ".join(answer.output.split())
