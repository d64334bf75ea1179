"""Tests of the part of a worker's log that belongs to a trial."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from typer.testing import CliRunner

import fer_tune
from fer_tune.cli.app import app
from fer_tune.errors import StudyError
from fer_tune.settings import Settings
from tests.studies import make_study

LOG = """\
2026-01-01 10:00:00 study tiny, trial 2, attempt 0, lane 0
of another trial
2026-01-01 10:00:01 study tiny, trial 3, attempt 0, lane 0
Traceback: it was made to fail
[red]with markup\x1b[31m
2026-01-01 10:00:02 study other, trial 3, attempt 0, lane 0
of another study
"""


@pytest.fixture(autouse=True)
def written(settings: Settings) -> None:
    make_study(settings).close()
    settings.logs.mkdir()
    (settings.logs / "20260101-100000-1-worker0.log").write_text(LOG)


def test_the_lines_of_a_trial_are_found() -> None:
    [found] = fer_tune.logs("tiny", 3)
    assert found.lines[1:] == ("Traceback: it was made to fail", "[red]with markup\x1b[31m")
    assert (found.attempt.number, found.attempt.status) == (3, "failed")
    [without] = fer_tune.logs("tiny", 4)
    assert (without.file, without.lines) == (None, ())


def test_the_latest_failed_trial_is_shown_by_default() -> None:
    shown = CliRunner().invoke(app, ["logs"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("trial 3, attempt 0: worker 0, lane 0, cpu, ")
    assert "it was made to fail" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "of another" not in shown.stdout
    assert CliRunner().invoke(app, ["logs", "--study", "tiny", "--trial", "3"]).stdout == shown.stdout


def test_a_trial_that_does_not_exist_is_refused() -> None:
    with pytest.raises(StudyError, match="has no trial 77"):
        fer_tune.logs("tiny", 77)


@pytest.mark.parametrize(
    ("state", "attrs", "why"),
    [
        (TrialState.FAIL, {"reason": "'abc' is not a number"}, "failed before a worker started it: 'abc' is not a num"),
        (TrialState.FAIL, {}, "failed before a worker started it: no reason was recorded"),
        (TrialState.FAIL, {"reason": "the run ended", "requeued_as": 9}, "has no log: trial 9 continues it"),
        (TrialState.WAITING, {}, "has no log: no worker has started it"),
    ],
)
def test_a_trial_without_a_log_says_why(settings: Settings, state: TrialState, attrs: Any, why: str) -> None:
    found = optuna.load_study(study_name="tiny", storage=settings.url)
    found.add_trial(create_trial(state=state, user_attrs=attrs))
    with pytest.raises(StudyError, match=f"Trial 5 of tiny {why}"):
        fer_tune.logs("tiny", 5)


def test_the_latest_failed_trial_may_have_no_log(settings: Settings) -> None:
    found = optuna.load_study(study_name="tiny", storage=settings.url)
    found.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"reason": "'abc' is not a number"}))
    shown = CliRunner().invoke(app, ["logs", "tiny"])
    assert shown.exit_code == 2
    assert "'abc' is not a number" in " ".join(shown.stderr.split())
