"""Tests that a study keeps everything under its new name."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from typer.testing import CliRunner

import fer_tune
from fer_tune.api.arguments import open_store
from fer_tune.cli.app import app
from fer_tune.errors import StudyError
from fer_tune.settings import Settings
from fer_tune.store import StudyLock, claim
from fer_tune.study.renaming import rename_study
from tests.studies import SWEEP, make_study
from tests.study.test_deleting import files, furnish


def test_a_renamed_study_has_its_trials_and_files(settings: Settings) -> None:
    with make_study(settings) as store:
        claim(store)
        furnish(settings, store, "tiny")
        before = fer_tune.load_epochs("tiny"), [one.as_dict() for one in fer_tune.trials("tiny")]
        count = len(files(settings))
        shown = CliRunner().invoke(app, ["studies", "rename", "tiny", "big"])
        assert shown.exit_code == 0, shown.output
        assert "tiny is now big." in shown.stderr
    assert [study.name for study in fer_tune.studies()] == ["big"]
    assert fer_tune.load_epochs("big").equals(before[0])
    assert [one.as_dict() for one in fer_tune.trials("big")] == before[1]
    assert len(files(settings)) == count
    assert not any("tiny-" in str(path) for path in files(settings))
    assert optuna.get_all_study_names(settings.url) == ["big"]
    with open_store() as store:
        [model] = store.artifacts.of("big")
        assert store.artifacts.path(model).is_file()


def test_a_name_must_be_free_and_valid_and_the_study_at_rest(settings: Settings) -> None:
    with make_study(settings) as store, make_study(settings, sweep=SWEEP.replace("study: tiny", "study: other")):
        with pytest.raises(StudyError, match="There is a study other already"):
            rename_study(store, settings, "tiny", "other")
        with pytest.raises(StudyError, match="There is a study tiny already"):
            rename_study(store, settings, "tiny", "tiny")
        with pytest.raises(StudyError, match="'a/b' is not a valid study name"):
            rename_study(store, settings, "tiny", "a/b")
        with StudyLock(settings, settings.url, "tiny"), pytest.raises(StudyError, match="is being run"):
            rename_study(store, settings, "tiny", "new")
        assert store.studies.get("tiny")


def test_what_fails_changes_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with make_study(settings) as store:
        claim(store)
        furnish(settings, store, "tiny")
        before = files(settings)
        write = store.write

        def fail(work: Any) -> Any:
            if any("new-" in str(path) for path in files(settings)):  # the folders were moved
                raise RuntimeError("made to fail")
            return write(work)

        with monkeypatch.context() as patch:
            patch.setattr(store, "write", fail)
            with pytest.raises(RuntimeError, match="made to fail"):
                rename_study(store, settings, "tiny", "new")
        assert files(settings) == before
        assert store.studies.get("tiny")


@pytest.mark.parametrize("words", [["rename"], ["rename", "tiny"], ["delete"], ["delete", "tiny", "b"]])
def test_a_missing_name_is_asked_for(words: list[str]) -> None:
    answer = CliRunner().invoke(app, ["studies", *words])
    assert answer.exit_code == 2
    assert f"`fer-tune studies {words[0]}` needs NAME" in answer.stderr
