"""Tests that a backup has everything, also one of a run that continues, and can be put back."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fer_tune
from fer_tune.cli.app import app
from fer_tune.doctor.storage import storage
from fer_tune.errors import FerTuneError, StorageError
from fer_tune.job import EpochRow, Job
from fer_tune.settings import Settings, sqlite_url
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store, StudyLock, backup, claim
from fer_tune.store.backup import LEDGER, Backup, back_up
from fer_tune.store.openings import Openings
from fer_tune.store.restore import restore
from fer_tune.study import summaries, trials
from tests.jobs.helpers import INLINE, Notebook
from tests.pool.trainers import obedient
from tests.searches import make_sweep
from tests.studies import make_study

SPLIT = "5" * 64
FILE = Path("artifacts/tiny-0/model.safetensors")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a storage folder with a study of five trials, one of which left a file."""
    root = tmp_path_factory.mktemp("backup") / "storage"
    with make_study(Settings(root, sqlite_url(root / "fer_tune.db"))) as opened:
        (opened.root / FILE).parent.mkdir(parents=True)
        (opened.root / FILE).write_bytes(b"weights")
        opened.artifacts.add("tiny", opened.jobs.of("tiny")[0].uid, "model", opened.root / FILE)
    return root


@pytest.fixture
def store(template: Path, settings: Settings) -> Iterator[Store]:
    """Yields a copy of the template."""
    shutil.copytree(template, settings.root)
    with Store.of(settings) as opened:
        claim(opened)
        yield opened


@pytest.fixture
def elsewhere(tmp_path: Path) -> Settings:
    root = tmp_path / "elsewhere"
    return Settings(root, sqlite_url(root / "fer_tune.db"))


def values(settings: Settings) -> list[tuple[int, str, float | None]]:
    with Store.of(settings, create=False) as store:
        claim(store)
        return [(trial.number, trial.state, trial.value) for trial in trials(store, "tiny")]


@pytest.mark.parametrize("artifacts", [False, True])
def test_what_is_restored_elsewhere_is_the_study(
    artifacts: bool, store: Store, settings: Settings, elsewhere: Settings, tmp_path: Path
) -> None:
    made = back_up(store, tmp_path / "copy", artifacts)
    assert made == Backup(tmp_path / "copy", (tmp_path / "copy").stat().st_size, 1, 5, int(artifacts), ())
    restored = restore(tmp_path / "copy", elsewhere)
    assert (restored.files, restored.kept) == (int(artifacts), None)
    assert values(elsewhere) == values(settings)
    assert (elsewhere.root / FILE).exists() == artifacts
    if artifacts:
        assert [finding.found for finding in storage(elsewhere) if finding.state == "problem"] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "elsewhere", "storage"]


def test_weights_that_networks_start_from_are_artifacts_too(
    store: Store, settings: Settings, elsewhere: Settings, tmp_path: Path
) -> None:
    settings.weights.mkdir()
    (settings.weights / "0123456789abcdef.safetensors").write_bytes(b"weights")
    back_up(store, tmp_path / "copy", artifacts=True)
    restore(tmp_path / "copy", elsewhere)
    assert (elsewhere.weights / "0123456789abcdef.safetensors").read_bytes() == b"weights"


def test_the_storage_folder_may_be_named_relative_to_the_working_folder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = back_up(store, artifacts=True, to=tmp_path / "copy.tar")
    monkeypatch.chdir(tmp_path)
    here = Settings(Path("here"), sqlite_url(Path("here/fer_tune.db")))
    assert restore(made.path, here).files == 1
    assert (Path("here") / FILE).read_bytes() == b"weights"
    assert not Path("here/here").exists()


@pytest.mark.parametrize("artifacts", [False, True])
def test_the_ledger_of_test_openings_is_in_a_backup(
    artifacts: bool, store: Store, settings: Settings, elsewhere: Settings, tmp_path: Path
) -> None:
    here, there = Openings(settings.root), Openings(elsewhere.root)
    here.open("first", SPLIT, purpose="evaluate", model="a model")
    here.result("first", {"none": 0.5})
    there.open("second", SPLIT, purpose="evaluate", model="another model")
    assert back_up(store, tmp_path / "copy", artifacts).openings == 1
    assert restore(tmp_path / "copy", elsewhere).openings == 1
    assert {one.id: one.result for one in there.of_split(SPLIT)} == {"first": {"none": 0.5}, "second": {}}
    assert restore(tmp_path / "copy", elsewhere, replace=True).openings == 0
    assert len(there.of_split(SPLIT)) == 2
    with closing(sqlite3.connect(elsewhere.root / "fer_tune.db")) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    assert "fer_schema" in names
    assert LEDGER not in names, "the ledger is in the storage folder, not in the database"


def test_a_backup_whose_ledger_differs_is_none(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Openings(store.root).open("first", SPLIT, purpose="evaluate", model="a model")
    monkeypatch.setattr("fer_tune.store.backup.ledger_lines", lambda database: ["another"])
    with pytest.raises(StorageError, match="ledger of test openings"):
        back_up(store, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_backup_of_a_run_that_continues(searching: Settings, elsewhere: Settings, tmp_path: Path) -> None:
    made: list[Backup] = []

    def copy(job: Job, row: EpochRow) -> None:
        with Store.of(searching, create=False) as store:
            made.append(back_up(store, tmp_path / f"copy-{len(made)}", artifacts=True))

    run_sweeps([make_sweep(budget=3, epochs=2)], searching, INLINE, Notebook(on_epoch=copy), obedient)
    assert [one.jobs for one in made] == [1, 1, 2, 2, 3, 3]
    assert [one.missing for one in made] == [()] * 6
    restore(made[3].path, elsewhere)
    with Store.of(elsewhere, create=False) as store:
        assert summaries(store)[0].counts.complete == 1
    outcome = run_sweeps([make_sweep(budget=3, epochs=2)], replace(searching, root=elsewhere.root, url=elsewhere.url),
                         INLINE, None, obedient)  # fmt: skip
    assert outcome.studies[0].counts.complete == 3


def test_the_place_that_nobody_names(store: Store) -> None:
    made = back_up(store)
    assert made.path.parent == store.root / "backups"
    assert made.path.suffix == ".db"
    assert back_up(store, store.root, artifacts=True).path.suffix == ".tar"


def test_what_the_storage_folder_lacks_is_said(store: Store, tmp_path: Path) -> None:
    (store.root / FILE).write_bytes(b"changed")
    assert back_up(store, tmp_path / "copy.tar", artifacts=True).missing == (FILE.as_posix(),)


def test_a_backup_replaces_no_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("kept")
    with pytest.raises(StorageError, match="exists already"):
        back_up(store, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "kept"


def test_a_backup_that_differs_from_what_was_written_is_none(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "sha256", lambda path: ("0" * 64, 0))
    with pytest.raises(StorageError, match="changed while it was copied"):
        back_up(store, tmp_path / "copy.tar", artifacts=True)
    assert [path.name for path in tmp_path.iterdir()] == ["storage"]


def test_a_database_that_is_there_is_kept(store: Store, settings: Settings, tmp_path: Path) -> None:
    back_up(store, tmp_path / "copy")
    with store.engine.begin() as tx:
        tx.exec_driver_sql("UPDATE fer_studies SET family = 'vgg'")
    with pytest.raises(StorageError, match="exists") as found:
        restore(tmp_path / "copy", settings)
    assert "--replace" in found.value.hint
    # The store is open, so its write-ahead log is there. It must not be taken for the backup's.
    kept = restore(tmp_path / "copy", settings, replace=True).kept
    assert kept == settings.root / "fer_tune.db.before-restore"
    with Store.of(settings) as restored, Store.open(sqlite_url(kept)) as old:
        assert restored.studies.get("tiny").family == "simple_cnn"
        assert old.studies.get("tiny").family == "vgg"
    assert restore(tmp_path / "copy", settings, replace=True).kept == settings.root / "fer_tune.db.before-restore-2"


def test_a_run_keeps_its_database(store: Store, settings: Settings, tmp_path: Path) -> None:
    back_up(store, tmp_path / "copy")
    with StudyLock(settings, settings.url, "tiny"), pytest.raises(StorageError, match=f"process {os.getpid()}"):
        restore(tmp_path / "copy", settings, replace=True)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def foreign(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE recipes (name)")


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE fer_schema SET version = 99")


def escaping(file: Path) -> None:
    member = tarfile.TarInfo("artifacts/../../escaped")
    member.size = 1
    with tarfile.open(file, "w") as archive:
        archive.addfile(member, io.BytesIO(b"x"))


def linking(file: Path) -> None:
    member = tarfile.TarInfo("artifacts/link")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc"
    with tarfile.open(file, "w") as archive:
        archive.addfile(member)


@pytest.mark.parametrize(
    ("damage", "artifacts"),
    [(cut, False), (emptied, False), (foreign, False), (newer, False), (cut, True), (escaping, True), (linking, True)],
)
def test_what_is_no_backup_changes_nothing(
    damage: Callable[[Path], None], artifacts: bool, store: Store, settings: Settings, tmp_path: Path
) -> None:
    back_up(store, tmp_path / "copy", artifacts)
    before = values(settings)
    damage(tmp_path / "copy")
    with pytest.raises(StorageError):
        restore(tmp_path / "copy", settings, replace=True)
    assert values(settings) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "storage"]


def test_an_older_backup_is_upgraded_at_its_first_use(elsewhere: Settings, tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "format-1.db", tmp_path / "old.db")
    restore(tmp_path / "old.db", elsewhere)
    with Store.of(elsewhere) as store:
        claim(store)
        assert store.studies.get("old").name == "old"


@pytest.mark.parametrize("file", ["nowhere.db", "."])
def test_a_backup_that_is_not_there(file: str, elsewhere: Settings, tmp_path: Path) -> None:
    with pytest.raises(FerTuneError, match="is not a file"):
        restore(tmp_path / file, elsewhere)


def test_both_are_functions_of_the_package(store: Store, tmp_path: Path) -> None:
    made = fer_tune.backup(tmp_path / "copy.tar", artifacts=True)
    assert fer_tune.restore(made.path, replace=True).files == 1


def test_both_are_commands(store: Store, tmp_path: Path) -> None:
    def call(*words: object) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        return " ".join(done.output.split())

    said = call("backup", "--artifacts", "--to", tmp_path / "copy.tar")
    assert "1 study, 5 jobs, 1 artifact;" in said
    said = call("restore", tmp_path / "copy.tar", "--replace")
    assert "fer_tune.db.before-restore" in said
