"""Tests of what `import fer_tune` exports: documented functions that are quick to import."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

import fer_tune
from fer_tune import api
from fer_tune.api.searches import WANDB_MODES
from fer_tune.errors import SettingsError, StudyError
from fer_tune.mirror import Mode
from fer_tune.settings import Settings
from fer_tune.store import Store
from tests.studies import SWEEP, make_study

FUNCTIONS = sorted(set(fer_tune.__all__) - {"FerTuneError", "__version__"})


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with make_study(settings) as store:
        yield store


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_described_and_typed(name: str) -> None:
    function = getattr(fer_tune, name)
    assert function.__doc__
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(one.annotation is not inspect.Parameter.empty for one in signature.parameters.values())
    assert name in api.__doc__


def test_the_overview_and_the_page_name_each_file_of_the_package() -> None:
    places: dict[str, set[str]] = {}
    for name in FUNCTIONS:
        places.setdefault(getattr(fer_tune, name).__module__.removeprefix("fer_tune.api."), set()).add(name)
    overview = re.findall(r"^    (\w+): (.*(?:\n {10}.*)*)", str(api.__doc__), re.MULTILINE)
    assert {place: set(re.findall(r"\w+", names)) for place, names in overview} == places
    page = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^::: fer_tune\.api\.(\w+)$", page, re.MULTILINE)) == places.keys()
    assert sorted(api.__all__) == FUNCTIONS


def test_the_public_names_are_shown_and_no_others() -> None:
    assert dir(fer_tune) == sorted(fer_tune.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        _ = fer_tune.nonesuch


def test_importing_is_cheap() -> None:
    code = (
        "import sys, fer_tune; fer_tune.run, fer_tune.load_trials, dir(fer_tune)\n"
        "heavy = {'torch', 'wandb', 'sklearn', 'optuna', 'sqlalchemy', 'pandas', 'numpy', 'pydantic'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_readers_need_no_name_if_there_is_one_study(store: Store) -> None:
    assert [trial.number for trial in fer_tune.best(top=2)] == [1, 0]
    assert [trial.state for trial in fer_tune.trials("tiny")] == [
        "complete",
        "complete",
        "pruned",
        "failed",
        "complete",
    ]
    assert [study.name for study in fer_tune.studies()] == ["tiny"]
    assert fer_tune.find_study().family == "simple_cnn"
    assert len(fer_tune.load_trials()) == 5
    assert len(fer_tune.load_epochs(trial=1)) == 3
    assert sorted(fer_tune.failures()) == [0, 1, 2, 3, 4]


def test_storage_names_another_database(store: Store, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/other.db"
    with make_study(Settings(tmp_path, url), (), SWEEP.replace("study: tiny", "study: other")):
        assert [study.name for study in fer_tune.studies(storage=url)] == ["other"]
        assert fer_tune.best(storage=url) == []
        with pytest.raises(StudyError, match="no study tiny"):
            fer_tune.best("tiny", storage=url)


def test_a_sweep_is_checked_and_written(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(fer_tune.template("resnet"))
    assert [sweep.study for sweep in fer_tune.check(file)] == ["mine"]
    assert fer_tune.check([str(file)], ["budget.trials=3"])[0].budget.trials == 3


def test_a_wrong_change_is_refused_before_anything_is_trained(store: Store) -> None:
    for changes in (["lr=100"], {"lr": 100}):
        with pytest.raises(SettingsError, match="at most 10, not 100"):
            fer_tune.retrain(changes=changes)


def test_what_is_not_running_cannot_be_stopped(store: Store) -> None:
    with pytest.raises(StudyError, match="The study tiny is not being run"):
        fer_tune.stop()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fer_tune.retrain("tiny", seeds=0), "seeds must be a whole number, and at least 1 (got 0)."),
        (lambda: fer_tune.retrain("tiny", epochs=0), "epochs must be a whole number, and at least 1 (got 0)."),
        (lambda: fer_tune.retrain("tiny", on="test"), "on must be one of train, train+val, all (got 'test')."),  # type: ignore[arg-type]
        (lambda: fer_tune.retrain("tiny", tta="x"), "tta must be one of none, flip, crops (got 'x')."),  # type: ignore[arg-type]
        (lambda: fer_tune.retrain("tiny", until="x"), "until must be one of best, end (got 'x')."),  # type: ignore[arg-type]
        (lambda: fer_tune.ensemble("tiny", size=0), "size must be a whole number, and at least 1 (got 0)."),
        (lambda: fer_tune.confirm("tiny", top=0), "top must be a whole number, and at least 1 (got 0)."),
        (lambda: fer_tune.confirm("tiny", seeds=1), "seeds must be a whole number, and at least 2 (got 1)."),
        (lambda: fer_tune.best("tiny", top=0), "top must be a whole number, and at least 1 (got 0)."),
        (lambda: fer_tune.standings("tiny", rule="x"), "rule must be one of max, one_se (got 'x')."),  # type: ignore[arg-type]
        (lambda: fer_tune.predict("m", "x.png", tta="x"), "tta must be one of none, flip, crops (got 'x')."),  # type: ignore[arg-type]
        (lambda: fer_tune.predict("m", "x.png", faces="x"), "faces must be one of auto, on, off (got 'x')."),  # type: ignore[arg-type]
        (lambda: fer_tune.run("demo", wandb="x"), "wandb must be one of online, offline, disabled (got 'x')."),  # type: ignore[arg-type]
        (lambda: fer_tune.run("demo", lanes=0), "lanes must be auto, or a whole number from 1 to 64 (got 0)."),
        (lambda: fer_tune.run("demo", lanes=True), "lanes must be auto, or a whole number from 1 to 64 (got True)."),
        (lambda: fer_tune.plan("demo", lanes=65), "lanes must be auto, or a whole number from 1 to 64 (got 65)."),
        (lambda: fer_tune.retrain("tiny", lanes="4"), "lanes must be auto, or a whole number from 1 to 64 (got '4')."),  # type: ignore[arg-type]
        (lambda: fer_tune.ensemble("tiny", lanes=-3), "lanes must be auto, or a whole number from 1 to 64 (got -3)."),
        (lambda: fer_tune.confirm("tiny", lanes=2.5), "lanes must be auto, or a whole number from 1 to 64 (got 2.5)."),  # type: ignore[arg-type]
        (lambda: fer_tune.best("tiny", top=True), "top must be a whole number, and at least 1 (got True)."),
    ],
)
def test_an_argument_that_is_not_valid_is_refused_before_anything_happens(
    store: Store, call: Callable[[], object], said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        call()
    assert refused.value.message == said


def test_one_name_may_stand_for_a_list(store: Store, tmp_path: Path) -> None:
    assert [one.number for one in fer_tune.trials("tiny", where="state=failed")] == [3]
    assert fer_tune.write_report(tmp_path / "report.html", "tiny").exists()


def test_changes_are_made_to_files_alone(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(SWEEP)
    [sweep] = fer_tune.check(file, "budget.trials=3")
    assert sweep.budget.trials == 3
    with pytest.raises(SettingsError, match="changes are made to files"):
        fer_tune.preview(sweep, changes="budget.trials=4")


def test_the_modes_of_wandb_are_those_of_the_mirror() -> None:
    assert get_args(Mode) == WANDB_MODES
