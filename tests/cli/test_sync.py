"""What `fer-tune sync` asks for and shows. The copying itself is tested in tests/mirror."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from fer_tune import api
from fer_tune.cli.app import app
from fer_tune.errors import FerTuneError
from fer_tune.mirror.sync import Synced
from fer_tune.settings import Settings
from tests.studies import SWEEP, make_study


@pytest.fixture
def asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Studies that were copied, each with whether jobs with `--wandb disabled` were wanted too."""
    calls: list[tuple[str, bool]] = []

    def sync(study: str, *, include_disabled: bool, **_: object) -> Synced:
        calls.append((study, include_disabled))
        if study == "broken":
            raise FerTuneError("wandb did not get everything of broken.")
        return Synced(study, 5, "online", 0 if include_disabled else 3, place="project fer-tune on a server")

    monkeypatch.setattr(api, "sync", sync)
    make_study(settings).close()
    return calls


def test_it_copies_all_studies_and_says_what_it_left_out(asked: list[tuple[str, bool]]) -> None:
    done = CliRunner().invoke(app, ["sync"])
    assert done.exit_code == 0
    assert asked == [("tiny", False)]
    assert "tiny: 5 runs are on wandb: project fer-tune on a server" in " ".join(done.output.split())
    assert "3 jobs of tiny ran with --wandb disabled" in " ".join(done.output.split())


def test_it_copies_what_ran_with_wandb_disabled_when_asked(asked: list[tuple[str, bool]]) -> None:
    done = CliRunner().invoke(app, ["sync", "--study", "tiny", "--include-disabled"])
    assert asked == [("tiny", True)]
    assert "disabled" not in done.output


def test_a_study_that_fails_is_an_error(asked: list[tuple[str, bool]]) -> None:
    assert CliRunner().invoke(app, ["sync", "--study", "broken"]).exit_code != 0
    assert asked == [("broken", False)]


def test_a_tracker_that_is_not_known_is_said_once(settings: Settings) -> None:
    make_study(settings).close()
    make_study(settings, sweep=SWEEP.replace("study: tiny", "study: other")).close()
    done = CliRunner().invoke(app, ["sync", "--tracker", "nothing"])
    assert done.exit_code == 2
    assert done.stderr.count("There is no tracker nothing") == 1
