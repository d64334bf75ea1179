"""Tests that a database of format 1 is copied and then upgraded in place.

fer-tune 0.1.0 made `format-1.db`. It has one study of six trials: complete ones, pruned ones, and
one that a killed run left. The next run trained that one again under another number. The study also
has one final fit, whose epochs were only in a file.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from fer_tune.data.spec import FER2013
from fer_tune.errors import StorageError
from fer_tune.store import Store, claim, migrations, tables
from fer_tune.study import Counts, ranking, summaries

OLD = Path(__file__).parent / "format-1.db"
FOLDER = "artifacts/old-9884e577/retrain-0002-1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Returns a storage folder with the old database."""
    shutil.copy(OLD, tmp_path / "fer_tune.db")
    return tmp_path


def opened(root: Path, notes: list[str] | None = None) -> Store:
    said = notes if notes is not None else []
    return Store.open(f"sqlite:///{root}/fer_tune.db", create=False, root=root, note=said.append)


def test_an_old_database_is_upgraded_with_one_line_and_a_copy(root: Path) -> None:
    before = (root / "fer_tune.db").read_bytes()
    notes: list[str] = []
    with opened(root, notes):
        pass
    (said,) = notes
    assert f"from format 1 to {tables.FORMAT}" in said
    assert str(root / "fer_tune.db.format-1") in said
    with closing(sqlite3.connect(root / "fer_tune.db.format-1")) as copy, closing(sqlite3.connect(OLD)) as old:
        assert list(copy.iterdump()) == list(old.iterdump())
    assert (root / "fer_tune.db").read_bytes() != before
    with opened(root, notes):
        assert len(notes) == 1, "it was upgraded more than once"


def test_the_new_tables_are_those_of_a_new_database(root: Path) -> None:
    with opened(root) as store, store.engine.connect() as connection:
        ours = {"include_object": lambda _o, name, kind, *_: kind != "table" or name.startswith("fer_")}
        context = MigrationContext.configure(connection, opts=ours)
        assert compare_metadata(context, tables.metadata) == []


def test_trials_and_their_epochs_are_all_there(root: Path) -> None:
    with opened(root) as store:
        jobs = store.jobs.of("old", "search")
        assert [(job.number, job.state) for job in jobs] == [
            (0, "complete"),
            (2, "complete"),
            (3, "pruned"),
            (4, "pruned"),
            (5, "pruned"),
            (6, "pruned"),
        ]
        assert jobs[0].name == "a start"
        assert jobs[0].params == {"width": 8, "lr": 0.003, "batch_size": 64, "optimizer": "adamw"}
        curves = store.epochs.curves("old")
        assert [len(curves[job.uid]) for job in jobs] == [3, 3, 1, 1, 1, 1]
        assert max(row.val_accuracy for row in curves[jobs[1].uid]) == jobs[1].value
        assert store.studies.get("old").data_spec == FER2013
        assert ranking(store, "old")[0].job == jobs[1].uid
        assert summaries(store)[0].counts == Counts(complete=2, pruned=4)


def test_a_trial_that_lived_on_under_another_number_is_one_job_with_two_attempts(root: Path) -> None:
    with opened(root) as store:
        job = store.jobs.find_trial("old", 2)
        assert job is not None
        assert store.jobs.find_trial("old", 1) is None
        assert [(one.attempt, one.status) for one in store.jobs.attempts("old", job.uid)] == [
            (0, "lost"),
            (1, "completed"),
        ]
        assert store.cursors.of("old", "wandb")[job.uid].run == "9884e577-00001"


def test_a_final_fit_becomes_a_job_with_its_files_and_its_opening(root: Path) -> None:
    (root / FOLDER).mkdir(parents=True)
    row = {
        "number": 2, "attempt": 0, "epoch": 1, "train_loss": 1.5, "train_accuracy": 0.5, "val_loss": None,
        "val_accuracy": None, "val_macro_f1": None, "val_balanced_accuracy": None, "recall": [None] * 7,
        "lr": 0.1, "seconds": 2.0, "images_per_second": 10.0,
    }  # fmt: skip
    (root / FOLDER / "epochs.json").write_text(json.dumps([row, row | {"epoch": 2}]))
    metrics = {"params": {"lr": 0.5}, "seed": 4, "schedule": 9, "epochs": 2, "parameters": 17}
    (root / FOLDER / "metrics.json").write_text(json.dumps(metrics))
    with opened(root) as store:
        (job,) = store.jobs.of("old", "final")
        assert (job.params, job.seed, job.schedule, job.until) == ({"lr": 0.5}, 4, 9, 2)
        assert (job.state, job.origin, job.mirrored) == ("complete", {"trial": 2}, False)
        assert [row.epoch for row in store.epochs.curve("old", job.uid)] == [1, 2]
        kinds = {file.kind for file in store.artifacts.of("old", job.uid)}
        assert kinds == {"model", "predictions", "confusion_png", "epochs", "confusion", "report", "metrics"}
        assert [entry.job for entry in store.ledger.of_study("old")] == [job.uid]


def test_a_final_fit_that_wandb_has_keeps_its_run(root: Path) -> None:
    """Format 1 numbered its cursor by the position of its opening in the ledger, below zero."""
    with closing(sqlite3.connect(root / "fer_tune.db")) as database, database:
        database.execute("insert into fer_mirror_cursors values (1, -1, '9884e577-retrain-001', 0, 2, 1)")
    with opened(root) as store:
        (job,) = store.jobs.of("old", "final")
        assert job.mirrored
        cursor = store.cursors.of("old", "wandb")[job.uid]
        assert (cursor.run, cursor.epoch, cursor.finished) == ("9884e577-retrain-001", 2, True)


def test_a_final_fit_whose_files_are_gone_still_counts_as_an_opening(root: Path) -> None:
    with opened(root) as store:
        (job,) = store.jobs.of("old", "final")
        assert store.epochs.curve("old", job.uid) == []
        assert len(store.ledger.of_study("old")) == 1


def test_an_upgrade_that_fails_changes_nothing(root: Path) -> None:
    with closing(sqlite3.connect(root / "fer_tune.db")) as database, database:
        database.execute("update fer_studies set sweep_json = '{}'")
    with pytest.raises(StorageError, match="cannot be upgraded"):
        opened(root)
    with closing(sqlite3.connect(root / "fer_tune.db")) as database:
        assert database.execute("select version from fer_schema").fetchall() == [(1,)]
        assert database.execute("select count(*) from fer_epochs").fetchall() == [(11,)]


def test_an_unknown_format_is_refused(root: Path) -> None:
    with closing(sqlite3.connect(root / "fer_tune.db")) as database, database:
        database.execute("update fer_schema set version = 7")
    with pytest.raises(StorageError, match="format 7"):
        opened(root)
    assert not list(root.glob("*.format-*"))


def test_a_copy_never_replaces_another(root: Path) -> None:
    (root / "fer_tune.db.format-1").write_text("kept")
    with opened(root):
        pass
    assert (root / "fer_tune.db.format-1").read_text() == "kept"
    assert (root / "fer_tune.db.format-1-2").is_file()


def test_the_newest_revision_is_the_one_that_new_databases_have() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == tables.REVISION


def test_a_database_of_format_3_gets_a_storage_folder_at_its_next_run(root: Path) -> None:
    with opened(root) as store, store.engine.begin() as tx:
        for column in ("folder", "folder_path"):
            tx.exec_driver_sql(f"ALTER TABLE fer_schema DROP COLUMN {column}")
        tx.exec_driver_sql("DROP TABLE fer_past_openings")
        tx.exec_driver_sql("UPDATE fer_schema SET version = 3")
        tx.exec_driver_sql("UPDATE fer_alembic_version SET version_num = '0003'")
    notes: list[str] = []
    with opened(root, notes) as store:
        claim(store)
        assert len(store.jobs.of("old", "search")) == 6
    assert "from format 3" in notes[0]
    assert (root / "fer_tune.db.format-3").is_file()
