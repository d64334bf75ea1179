"""Tables out: what pandas reads is what the database says."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import fer_tune
from fer_tune.cli.app import app
from fer_tune.errors import MissingExtraError, StudyError
from fer_tune.report import tables
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import Proposal, TrialSummary, trials
from tests.studies import CURVES, Curve, epoch_row, make_study, trial_job

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with make_study(settings) as store:
        yield store


def test_trials_are_rows(store: Store) -> None:
    frame = fer_tune.load_trials("tiny")
    assert list(frame["state"]) == ["complete", "complete", "pruned", "failed", "complete"]
    assert frame["value"][:3].tolist() == [0.5, 0.6, 0.12]
    assert frame["value"].isna().tolist() == [False, False, False, True, False]
    assert frame["params.lr"].tolist() == [trial.params["lr"] for trial in trials(store, "tiny")]
    assert str(frame["ended"].dtype).endswith("UTC]")
    assert fer_tune.load_trials("tiny", storage=store.url).equals(frame)


def test_epochs_are_rows_of_the_last_attempt(store: Store) -> None:
    frame = fer_tune.load_epochs("tiny")
    assert [list(rows["val_accuracy"]) for _, rows in frame.groupby("number")] == [
        values for _, values in CURVES if values
    ]
    assert frame["recall.disgust"].eq(0.1).all()
    assert frame["recall.fear"].isna().all()
    proposal = Proposal(0, {}, None, 0, 0)
    store.jobs.start_attempt(trial_job(store, "tiny", proposal, attempt=1), 0, "cpu")
    store.epochs.add(epoch_row(0, 1, 0.7, attempt=1))
    assert fer_tune.load_epochs("tiny", trial=0)["val_accuracy"].tolist() == [0.7]
    assert len(fer_tune.load_epochs("tiny", trial=0, attempts=True)) == 4


def documented(function: Callable[..., Any]) -> dict[str, str]:
    """The dtype of each column that the docstring's table names in full."""
    rows = re.findall(r"^ *\| ([\w., ]+) \| ([\w\[\], ]+) \|", function.__doc__ or "", re.MULTILINE)
    return {name: dtype for names, dtype in rows[1:] for name in names.split(", ") if "." not in name}


@pytest.mark.parametrize("curves", [CURVES, CURVES[3:4], ()], ids=["some", "one that failed", "none"])
def test_columns_and_dtypes_are_as_documented(settings: Settings, curves: tuple[Curve, ...]) -> None:
    with make_study(settings, curves=curves):
        trials, epochs = fer_tune.load_trials("tiny"), fer_tune.load_epochs("tiny")
    for frame, told in ((trials, documented(fer_tune.load_trials)), (epochs, documented(fer_tune.load_epochs))):
        assert {name: str(frame[name].dtype) for name in told} == told
        named = [name for name in frame.columns if "." not in name]
        assert named == list(told) if frame is trials else set(named) == set(told)
    assert epochs.filter(like="recall.").dtypes.eq("float64").all()


def test_no_trial_is_no_row(settings: Settings) -> None:
    with make_study(settings, curves=()):
        assert "value" in fer_tune.load_trials("tiny")
        assert fer_tune.load_epochs("tiny").empty
        with pytest.raises(StudyError, match="There is no study tni"):
            fer_tune.load_trials("tni")


def test_parquet_reads_back(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "new" / "trials.parquet"
    answer = CliRunner().invoke(app, ["trials", "--parquet", str(file)])
    assert answer.exit_code == 0, answer.output
    pd.testing.assert_frame_equal(pd.read_parquet(file), fer_tune.load_trials("tiny"))
    assert CliRunner().invoke(app, ["trials", "--csv", "--parquet", str(file)]).exit_code == 2


def test_a_column_of_numbers_and_words_becomes_words(tmp_path: Path) -> None:
    mixed = [
        TrialSummary(number, None, "complete", 0.5, {"depth": depth}, 1, 1, None, None, None, {})
        for number, depth in enumerate([18, "deep", True])
    ]
    tables.write_parquet(mixed, tmp_path / "mixed.parquet")
    assert pd.read_parquet(tmp_path / "mixed.parquet")["params.depth"].tolist() == ["18", "deep", "True"]


def test_parquet_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"fer-tune\[parquet\]"):
        tables.write_parquet([], tmp_path / "x.parquet")


def test_the_example_draws(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tmp_path / "study.png"
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setattr(sys, "argv", ["plot_study.py", "tiny", str(picture)])
    runpy.run_path(str(ROOT / "docs" / "plot_study.py"))
    with Image.open(picture) as image:
        assert len(image.convert("RGB").getcolors(image.width * image.height) or []) > 10
