"""Tests of what a search gained over the configurations of `start:`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

import fer_tune
from fer_tune.cli.app import app
from fer_tune.settings import Settings
from fer_tune.sources.confirm import run_confirmations
from fer_tune.sources.run import run_sweeps
from tests.jobs.helpers import INLINE
from tests.searches import make_sweep
from tests.sources.test_confirm import Noisy, search
from tests.studies import SWEEP, Curve, make_study


@pytest.mark.parametrize(
    ("curves", "sentence"),
    [
        # 21 validation images: a standard error of 15 points
        (
            (("complete", [0.5]), ("complete", [0.6])),
            "+10.0 over start 'by hand' (trial 0), standard error 15.3: a tie",
        ),
        (
            (("complete", [0.1]), ("complete", [0.9])),
            "+80.0 over start 'by hand' (trial 0), standard error 9.3: better",
        ),
        ((("complete", [0.6]), ("complete", [0.5])), "start 'by hand' itself; no drawn trial is better"),
    ],
)
def test_the_best_value_is_beside_its_baseline(settings: Settings, curves: tuple[Curve, ...], sentence: str) -> None:
    make_study(settings, curves).close()
    gained = fer_tune.gain()
    assert gained is not None
    assert gained.sentence() == sentence
    assert sentence in " ".join(CliRunner().invoke(app, ["best"]).stdout.split())
    found = json.loads(CliRunner().invoke(app, ["best", "--json"]).stdout)["gain"]
    assert (found["start"], found["tied"]) == (0, gained.tied)


def test_the_best_of_many_must_be_further_ahead(settings: Settings) -> None:
    make_study(settings, (("complete", [0.3]), ("complete", [0.65]), *[("complete", [0.2])] * 8)).close()
    gained = fer_tune.gain()
    assert gained is not None
    assert gained.p == pytest.approx(10 * 0.0169, abs=0.02)
    assert gained.tied


def test_the_gain_of_a_confirmed_trial_is_that_under_its_new_seeds(searching: Settings, monkeypatch: Any) -> None:
    """Trial 1 is the best start."""
    monkeypatch.setenv("FER_TUNE_STORAGE", searching.url)
    search(searching, 0.50, 0.51, 0.2)
    before = fer_tune.gain(trial=0)
    assert before is not None
    assert "seeds" not in before.sentence()
    assert run_confirmations("s", searching, INLINE, trainer=Noisy, top=2, seeds=2) is not None
    confirmed, other = fer_tune.gain(trial=0), fer_tune.gain(trial=2)
    assert confirmed is not None
    assert other is not None
    means = {one.trial.number: one.confirmed.mean for one in fer_tune.standings().ranked if one.confirmed}
    assert confirmed.gained == pytest.approx(means[0] - means[1])
    assert (confirmed.confirmed, other.confirmed) == (True, False)
    assert ", under new seeds: " in confirmed.sentence()


def test_the_gain_over_a_start_that_is_not_confirmed_is_said_to_be_the_search_s(
    searching: Settings, monkeypatch: Any
) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", searching.url)
    sweep = make_sweep(start=[{"value": 0.1}], budget=2, epochs=1)
    run_sweeps([sweep], searching, INLINE, None, Noisy)
    assert run_confirmations("s", searching, INLINE, trainer=Noisy, top=1, seeds=2) is not None
    gained = fer_tune.gain()
    assert gained is not None
    assert (gained.trial, gained.by_search, gained.confirmed) == (1, True, False)
    assert ", by the search's own figures: " in gained.sentence()


def test_without_a_complete_start_there_is_no_baseline(settings: Settings) -> None:
    make_study(settings, (("pruned", []), ("complete", [0.6]))).close()
    assert fer_tune.gain() is None
    said = " ".join(CliRunner().invoke(app, ["best"]).stdout.split())
    assert "no start configuration was trained to its end, so there is no baseline" in said


def test_a_start_that_was_pruned_is_compared_where_it_stopped(settings: Settings) -> None:
    make_study(settings, (("pruned", [0.2, 0.3]), ("complete", [0.1, 0.4, 0.6]))).close()
    assert fer_tune.gain() is None
    said = " ".join(CliRunner().invoke(app, ["best"]).stdout.split())
    assert (
        "no start configuration was trained to its end; start 'by hand' (trial 0) was stopped in epoch 2 at 30.00 %, "
        "where trial 1 had 40.00 %"
    ) in said


def test_a_sweep_without_a_start_has_nothing_to_say_of_one(settings: Settings) -> None:
    make_study(settings, (("complete", [0.3]), ("complete", [0.6])), sweep=SWEEP.partition("start:")[0]).close()
    assert fer_tune.gain() is None
    assert "start configuration" not in CliRunner().invoke(app, ["best"]).stdout


def test_the_best_trial_as_yaml_is_a_start_of_a_sweep(settings: Settings) -> None:
    make_study(settings).close()
    shown = CliRunner().invoke(app, ["best", "--yaml", "--top", "2"]).stdout
    file = settings.root / "mine.yaml"
    text, _, _ = fer_tune.find_study().sweep_text.partition("start:")
    file.write_text(text + shown)
    [sweep] = fer_tune.check(file)
    best = fer_tune.best(top=2)
    assert [start.name for start in sweep.start] == ["trial 1 of tiny", "trial 0 of tiny"]
    assert [start.params["lr"] for start in sweep.start] == [one.params["lr"] for one in best]
