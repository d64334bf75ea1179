"""Tests that a study is deleted whole, and nothing of another one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.doctor.storage import storage
from fer_tune.errors import StudyError
from fer_tune.settings import Settings
from fer_tune.store import Cursor, Store, StudyLock, confirm_lock
from fer_tune.study.deleting import delete_study
from tests.studies import SWEEP, make_study

ROWS = (
    "fer_jobs",
    "fer_attempts",
    "fer_epochs",
    "fer_artifacts",
    "fer_cursors",
    "fer_ledger",
    "trials",
    "trial_params",
)


def rows(store: Store) -> dict[str, int]:
    with store.engine.connect() as connection:
        return {name: connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one() for name in ROWS}


def files(settings: Settings) -> set[Path]:
    return {
        path
        for path in settings.root.rglob("*")
        if path.is_file() and path.suffix not in (".lock", ".db-wal", ".db-shm")
    }


def furnish(settings: Settings, store: Store, name: str) -> None:
    """Gives a study a file of each kind."""
    record, job = store.studies.get(name), store.jobs.of(name)[0]
    folder = settings.job_folder(name, record.uid, job.uid)
    for file in (
        folder / "model.safetensors",
        settings.checkpoint_folder(name, record.uid) / f"{job.uid}.safetensors",
        settings.pictures / f"{record.uid}-0000-c0",
        settings.pictures / f".{record.uid}-0001-c0.draft",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    store.artifacts.add(name, job.uid, "model", folder / "model.safetensors")
    store.cursors.set(Cursor(job.uid, "wandb", job.uid))
    store.ledger.open_test(name, job.uid, record.split.hash, "final fit")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with make_study(settings, (("complete", [0.5]), ("pruned", [0.1]))) as store:
        yield store


def test_a_study_goes_whole_and_another_one_stays(store: Store, settings: Settings) -> None:
    furnish(settings, store, "tiny")
    before, kept = rows(store), files(settings)
    make_study(settings, (("complete", [0.5]),), SWEEP.replace("study: tiny", "study: more")).close()
    furnish(settings, store, "more")
    deleted = delete_study(store, settings, "more")
    assert (deleted.study, deleted.jobs, deleted.files) == ("more", 1, 4)
    assert rows(store) == before
    assert files(settings) == kept | {settings.root / "storage-id"}
    assert [study.name for study in store.studies.all()] == ["tiny"]
    assert [finding.found for finding in storage(settings) if finding.state == "problem"] == []


def test_the_name_can_be_used_again(store: Store, settings: Settings) -> None:
    delete_study(store, settings, "tiny")
    make_study(settings, (("complete", [0.5]),)).close()
    assert [study.name for study in store.studies.all()] == ["tiny"]


def test_the_ledger_remembers_what_was_seen(store: Store, settings: Settings) -> None:
    furnish(settings, store, "tiny")
    split = store.studies.get("tiny").split.hash
    [before] = store.ledger.of_split(split)
    delete_study(store, settings, "tiny")
    [after] = store.ledger.of_split(split)
    assert (after.study, after.purpose, after.opened) == (before.study, before.purpose, before.opened)
    assert (after.id, after.job) == (0, None)


def test_a_study_that_optuna_has_no_more_can_be_deleted(store: Store, settings: Settings) -> None:
    optuna.delete_study(study_name="tiny", storage=settings.url)
    assert delete_study(store, settings, "tiny").jobs == 2
    assert store.studies.all() == []


def test_a_row_that_a_run_wrote_while_optuna_deleted_its_study_goes_too(store: Store, settings: Settings) -> None:
    optuna.delete_study(study_name="tiny", storage=settings.url)
    with sqlite3.connect(settings.root / "fer_tune.db") as other:  # it does not check foreign keys
        other.execute(
            "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
            "VALUES (99, 1, 0.5, 'FINITE')"
        )
    delete_study(store, settings, "tiny")
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


def test_a_study_that_is_run_stays(store: Store, settings: Settings) -> None:
    with StudyLock(settings, settings.url, "tiny"), pytest.raises(StudyError, match="is being run"):
        delete_study(store, settings, "tiny")
    with StudyLock(settings, settings.url, confirm_lock("tiny")), pytest.raises(StudyError, match="being confirmed"):
        delete_study(store, settings, "tiny")
    assert rows(store)["trials"] == 2


def test_the_command(store: Store) -> None:
    def call(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["studies", *words])
        return done.exit_code, " ".join(done.output.split())

    assert call("delete")[0] == 2
    assert call("delete", "tinny") == (2, call("delete", "tinny")[1])
    assert "Did you mean tiny?" in call("delete", "tinny")[1]
    assert call("delete", "tiny") == (0, "tiny was deleted, with 2 jobs and 0 files.")
    assert call("remove", "tiny")[0] == 2
