"""`fer-tune confirm`, and what it says of a study."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fer_tune import api
from fer_tune.cli.app import app
from fer_tune.cli.standings import as_dict, conclusions, show
from fer_tune.display import terminal
from fer_tune.selection.race import Race
from fer_tune.settings import Settings
from fer_tune.sources.confirm import run_confirmations
from fer_tune.sources.run import run_sweeps
from fer_tune.study.confirmations import Confirmations
from tests.jobs.helpers import INLINE, real_sweep
from tests.searches import make_sweep
from tests.sources.test_confirm import Noisy, search
from tests.studies import make_study


def fer_tune(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def confirmed(searching: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Returns the settings of a study with two equal trials and a poor one, all confirmed."""
    monkeypatch.setenv("FER_TUNE_STORAGE", searching.url)
    search(searching, 0.88, 0.89, 0.15, 0.1)
    assert run_confirmations("s", searching, INLINE, trainer=Noisy, top=3, seeds=3) is not None
    return searching


@pytest.mark.usefixtures("trained_here")
def test_the_command_confirms_and_prints_the_table(searching: Settings) -> None:
    run_sweeps([real_sweep(1)], searching, INLINE)
    words = ("confirm", "--top", 1, "--seeds", 2, "--devices", "cpu", "--wandb", "disabled")
    first = fer_tune(*words)
    assert first.exit_code == 0, first.output
    assert "s: 1 trial under new seeds, val_accuracy" in first.stdout
    assert "confirmation" in first.stdout
    assert "…" not in first.stdout, "a table is cut off at 80 columns"
    found = json.loads(fer_tune(*words, "--json").stdout)
    assert (found["trainings"], found["confirmed_under"], len(found["trials"])) == (2, 2, 1)
    assert len(found["trials"][0]["confirmed"]["values"]) == 2


def test_what_follows_is_said_in_sentences(confirmed: Settings) -> None:
    found = api.standings("s")
    said = " ".join(conclusions(found))
    assert "2 of 3 compared trials cannot be told from the leader: 1, 0." in said
    assert "Racing saved 1 of 9 trainings." in said
    assert "points above the confirmed means" in said or "points below the confirmed means" in said
    data = as_dict(found, 3)
    assert (data["winner"], data["ties"], data["chosen"]) == (None, [1, 0], 1)
    assert [trial["confirmed"]["behind_after"] for trial in data["trials"]] == [None, None, 2]


def test_the_final_fit_is_of_the_confirmed_winner(confirmed: Settings) -> None:
    from fer_tune.sources.final import FinalFits, Request
    from fer_tune.store import Store

    with Store.of(confirmed) as store:
        fits = FinalFits(store, confirmed, "s", Request())
        fits.lock.release()
    assert fits.trial == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "1"], "--seeds"),
        (["--top", "0"], "--top"),
        (["--lanes", "0"], "--lanes must be between 1 and"),
        (["--study", "nonesuch"], "There is no study nonesuch"),
    ],
)
def test_bad_input_ends_with_2(settings: Settings, words: list[str], said: str) -> None:
    with make_study(settings):
        answer = fer_tune("confirm", *words)
    assert answer.exit_code == 2
    assert said in answer.stderr


def test_a_study_without_a_complete_trial_is_refused(settings: Settings) -> None:
    with make_study(settings, curves=()):
        answer = fer_tune("confirm")
    assert answer.exit_code == 2
    assert "has no complete trial yet" in answer.stderr


def test_before_the_first_confirmation_has_ended_the_trials_of_the_search_are_compared(searching: Settings) -> None:
    search(searching, 0.88, 0.89, 0.15, 0.1)
    begun = Confirmations(Race((), (), 0, None), {}, 3, 2)
    said = " ".join(conclusions(replace(api.standings("s"), confirmations=begun)))
    assert "2 of 4 compared trials cannot be told from the leader: 1, 0." in said


def test_the_table_of_a_confirmed_study_fits_80_columns(
    confirmed: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show(terminal.console(), api.standings("s", 4), 4)
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert "…" not in shown
    assert lines[0] == ["trial", "search,", "%", "confirmed,", "%", "95", "%", "seeds", "p"]
    assert [line[0] for line in lines[2:4]] == ["1", "0"]
    assert [line[-1] for line in lines if line[:2] == ["3", "10.00"]] == ["not"]  # and below it: confirmed


def test_a_trial_without_a_confirmation_is_not_compared_with_one_that_has_some(confirmed: Settings) -> None:
    [*_, last] = json.loads(fer_tune("best", "--top", 4, "--json").stdout)["trials"]
    assert (last["number"], last["confirmed"], last["p"], last["tied"]) == (3, None, None, None)
    assert "not confirmed" in fer_tune("best", "--top", 4).stdout


def test_the_meter_and_the_standings_give_a_confirmed_mean_one_interval(confirmed: Settings) -> None:
    leader, meter = api.standings("s").ranked[0], api.overtuning("s", 1)
    assert leader.confirmed is not None
    assert meter is not None
    [interval] = [figure.interval for figure in meter.figures if figure.name == "confirmed"]
    assert interval == leader.confirmed.interval


def test_the_meter_knows_how_seeds_vary_from_all_confirmed_trials(confirmed: Settings) -> None:
    """Trial 1 has three values. Those of the others count too, so that less counts as chance."""
    race, meter = api.standings("s").confirmations, api.overtuning("s", 1)
    assert race is not None
    assert meter is not None
    values = [value for place in race.race.places for value in np.subtract(place.values, place.mean)]
    assert race.race.spread.freedom == 5
    assert race.race.spread.variance == pytest.approx(np.square(values).sum() / 5)
    *_, known = meter.figures
    with patch("fer_tune.study.standings.meter", return_value=meter) as called:
        api.overtuning("s", 1)
    assert called.call_args.kwargs == {"of_confirmed": known.interval, "spread": race.race.spread}


def test_the_report_says_the_confirmed_mean_in_a_sentence_of_its_own(confirmed: Settings, tmp_path: Path) -> None:
    assert fer_tune("report", "--study", "s", "--out", tmp_path / "report.html").exit_code == 0
    page = (tmp_path / "report.html").read_text("utf-8")
    assert re.search(r"[a-z]\. Its mean under 3 new seeds is", " ".join(page.split()))


def test_the_report_shows_confirmed_figures(confirmed: Settings, tmp_path: Path) -> None:
    leader = api.standings("s").ranked[0]
    assert leader.confirmed is not None
    under = f"under 3 new seeds; the search measured {100 * (leader.trial.value or 0):.2f} %"
    figure = f"{100 * leader.confirmed.mean:.2f} ± {100 * leader.confirmed.error:.2f} % val_accuracy {under}."
    for form in ("html", "md"):
        assert fer_tune("report", "--study", "s", "--out", tmp_path / f"report.{form}").exit_code == 0
        assert figure in " ".join((tmp_path / f"report.{form}").read_text("utf-8").split())
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "other trial cannot be told from it by trainings under new seeds" in page


@pytest.fixture
def sampled(searching: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Returns the settings of a study whose confirmed trials are a start and one that was drawn."""
    monkeypatch.setenv("FER_TUNE_STORAGE", searching.url)
    run_sweeps([make_sweep(start=[{"value": 0.3}], budget=4, epochs=1)], searching, INLINE, None, Noisy)
    assert run_confirmations("s", searching, INLINE, trainer=Noisy, top=4, seeds=2) is not None
    return searching


def test_best_and_report_have_one_verdict_on_a_pair(sampled: Settings, tmp_path: Path) -> None:
    found, gain = api.standings("s"), api.gain("s", api.standings("s").ranked[0].trial.number)
    assert gain is not None
    assert not gain.is_start
    [start] = [one for one in found.ranked if one.trial.number == gain.start.number]
    assert (gain.confirmed, gain.decided, gain.tied) == (True, not start.tied, start.tied)
    assert fer_tune("report", "--study", "s", "--out", tmp_path / "report.html").exit_code == 0
    page = (tmp_path / "report.html").read_text("utf-8")
    assert gain.sentence().replace("'", "&#39;") in page
    assert f"{100 * gain.gained:+.2f} over the best of start" in page
    for p, decided, tied in ((0.04, False, True), (0.06, True, False), (0.04, None, False)):
        assert replace(gain, p=p, decided=decided).tied == tied, "the race decides, where it knows both"


def test_the_list_of_studies_marks_a_gain_under_new_seeds(sampled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    shown = fer_tune("studies").stdout
    assert re.search(r"[+-]\d+\.\d ± \d+\.\d\*", shown)
    assert "* under new seeds; best is what the search measured" in shown


def test_without_the_images_trials_are_compared_by_values_and_best_says_so(confirmed: Settings) -> None:
    said = "The images of the study are not in the cache."
    assert said not in " ".join(fer_tune("best").stdout.split())
    shutil.rmtree(confirmed.cache)
    assert said in " ".join(fer_tune("best").stdout.split())
    assert json.loads(fer_tune("best", "--json").stdout)["trials"][0]["number"] == 1
