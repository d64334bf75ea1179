"""No text from outside is markup or moves the cursor, in any table of any command."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.doctor.findings import Finding
from fer_tune.settings import Settings
from fer_tune.sources.predict import Prediction
from fer_tune.store import Store, tables
from fer_tune.study.storage import optuna_storage
from tests.studies import SWEEP, make_study

HOSTILE = "lr from paper [/3] [link=x]y[/link] [bold]z :smile:"
ESCAPES = "\x1b[31m\x1b]8;;x\x07\u202e\r"
"""What changes a terminal's colour, makes a link, reverses text, or returns to the line's start."""

MOVING = "\x1b\x07\u202e\r"

Show = Callable[..., str]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    """Calls a command and returns all that it printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object) -> str:
        answer = CliRunner().invoke(app, [str(word) for word in words])
        assert isinstance(answer.exception, SystemExit | None), answer.exception
        assert not any(letter in answer.output for letter in MOVING), answer.output
        return answer.output

    return call


@pytest.fixture
def store(settings: Settings, tmp_path: Path) -> Iterator[Store]:
    """A study with a hostile start name, a hostile reason and a hostile traceback."""
    curves = (("complete", [0.3, 0.5]), (f"{HOSTILE}{ESCAPES}", [0.2]), ("failed", []))
    with make_study(settings, curves, SWEEP.replace("by hand", f"'{HOSTILE}'").replace("''", "'")) as store:
        with store.engine.begin() as tx:
            tx.execute(update(tables.attempts).values(detail=f"{HOSTILE}\n{ESCAPES}"))
        yield store


@pytest.mark.parametrize(
    "words", [["best", "--top", 3], ["trials"], ["trials", "--failed"], ["watch", "--once"]], ids=str
)
def test_names_and_reasons_of_a_study(words: list[object], store: Store, show: Show) -> None:
    assert HOSTILE[:24] in show(*words)  # `watch` cuts what it has no room for


def test_no_cell_of_a_csv_is_a_formula(settings: Settings) -> None:
    name = "=cmd|' /C calc'!A0"
    sweep = SWEEP.replace("by hand", f'"{name}"')
    with make_study(settings, (("complete", [0.5]), ("@SUM(A1)", [])), sweep) as store:
        optuna_study = optuna.load_study(study_name="tiny", storage=optuna_storage(store))
        optuna_study._storage.set_trial_user_attr(optuna_study.ask()._trial_id, "=1+1", "+2")
    answer = CliRunner().invoke(app, ["trials", "--csv"])
    assert answer.exit_code == 0
    rows = list(csv.reader(io.StringIO(answer.output)))
    assert {f"'{name}", "'@SUM(A1)", "'+2"} <= {cell for row in rows for cell in row}
    assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r")]


def test_a_list_of_studies(store: Store, show: Show) -> None:
    assert "tiny" in show("studies")


def test_a_checked_sweep(show: Show, tmp_path: Path) -> None:
    file = tmp_path / f"s{HOSTILE.replace('/', '')}.yaml"
    file.write_text(SWEEP.replace("by hand", f"'{HOSTILE}'").replace("data: demo", f"data: '{HOSTILE}'"))
    printed = show("check", file, "--set", "lr=0.5")
    assert f"tiny: simple_cnn on {HOSTILE}" in printed
    assert f"{HOSTILE} is left out" in printed


def test_a_data_set(show: Show, tmp_path: Path, demo: Any) -> None:
    from PIL import Image

    root = tmp_path / f"d{HOSTILE.replace('/', '')}\x1b[31m"
    for index, (image, label) in enumerate(zip(demo.images, demo.labels, strict=True)):
        name = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")[int(label)]
        (root / "train" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / "train" / name / f"{index}.png")
    assert "[bold]z :smile:" in show("data", root)


def test_a_prediction(show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(folder: Any, images: list[Path], **_: Any) -> list[Prediction]:
        return [Prediction(str(images[0]), {HOSTILE: 0.75, f"b{ESCAPES}": 0.25})]

    monkeypatch.setattr("fer_tune.api.predict", predict)
    printed = show("predict", tmp_path, f"{HOSTILE}.png")
    assert f"{HOSTILE}.png" in printed
    assert printed.count(HOSTILE) == 2
    show("predict", tmp_path, f"y{ESCAPES}.png")


def test_the_doctors_findings(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding(f"[/what]{ESCAPES}", "problem", f"{HOSTILE}{ESCAPES}", HOSTILE)
    monkeypatch.setattr("fer_tune.api.diagnose", lambda **_: {f"storage[/]{ESCAPES}": [finding]})
    printed = show("doctor")
    assert printed.count(HOSTILE) == 2
    assert "[/what]" in printed


def test_a_final_fit(store: Store, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = SimpleNamespace(accuracy=0.5, macro_f1=0.5, balanced_accuracy=0.5, recall=(0.5,) * 7)
    test = SimpleNamespace(scores=scores, error=0.1, calibration_error=0.1, confusion=[[1] * 7] * 7)
    folder = tmp_path / f"{HOSTILE}{ESCAPES}"
    opening = SimpleNamespace(line=f"{HOSTILE}{ESCAPES}")
    fit = SimpleNamespace(
        study="tiny", trial=0, seed=0, epochs=3, schedule=3, images=9, seconds=1.0, on="train+val", changes={"lr": 1},
        classes=(HOSTILE, f"b{ESCAPES}", *"cdefg"), ledger=(opening, opening), calibration=None, folder=folder,
        validated={}, figure=0.5,
        tested=SimpleNamespace(images=9, views={"none": test, "flip": test}), scores=lambda tta: test,
    )  # fmt: skip
    monkeypatch.setattr("fer_tune.api.retrain", lambda *_, **__: (fit,))
    assert show("retrain").count(HOSTILE) == 4  # the class, an opening, and the folder twice
