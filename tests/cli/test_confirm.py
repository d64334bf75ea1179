"""`fer-tune confirm`, and what it says of a study."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner, Result

from fer_tune import api
from fer_tune.cli.app import app
from fer_tune.cli.standings import as_dict, conclusions
from fer_tune.selection.race import Race
from fer_tune.settings import Settings
from fer_tune.sources.confirm import run_confirmations
from fer_tune.sources.run import run_sweeps
from fer_tune.study.confirmations import Confirmations
from tests.jobs.helpers import INLINE, real_sweep
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


def test_the_command_confirms_and_prints_the_table(searching: Settings) -> None:
    run_sweeps([real_sweep(1)], searching, INLINE)
    words = ("confirm", "--top", 1, "--seeds", 2, "--devices", "cpu", "--wandb", "disabled")
    first = fer_tune(*words)
    assert first.exit_code == 0, first.output
    assert "s: 1 trial under new seeds, val_accuracy" in first.stdout
    assert "confirmation" in first.stdout
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
