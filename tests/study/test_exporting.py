"""Tests that an exported study is the same elsewhere, and that nothing else is unpacked."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fer_tune
from fer_tune.api.arguments import open_store
from fer_tune.cli.app import app
from fer_tune.errors import StorageError, StudyError
from fer_tune.settings import Settings, sqlite_url
from fer_tune.store import Store, StudyLock
from tests.studies import SWEEP, make_study
from tests.study.test_deleting import furnish


@pytest.fixture
def exported(settings: Settings, tmp_path: Path) -> Path:
    """Returns the file of the study tiny, whose database has another study too."""
    with make_study(settings) as store, make_study(settings, sweep=SWEEP.replace("study: tiny", "study: other")):
        furnish(settings, store, "tiny")
    shown = CliRunner().invoke(app, ["studies", "export", "tiny", str(tmp_path / "tiny.tar")])
    assert shown.exit_code == 0, shown.output
    return tmp_path / "tiny.tar"


def test_a_study_is_the_same_elsewhere(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [one.as_dict() for one in fer_tune.trials("tiny")], fer_tune.load_epochs("tiny")
    monkeypatch.setenv("FER_TUNE_DIR", str(tmp_path / "elsewhere"))
    shown = CliRunner().invoke(app, ["studies", "import", str(exported)])
    assert shown.exit_code == 0, shown.output
    assert "tiny was imported from" in shown.stderr
    assert [study.name for study in fer_tune.studies()] == ["tiny"]
    assert [one.as_dict() for one in fer_tune.trials()] == before[0]
    assert fer_tune.load_epochs().equals(before[1])
    with open_store() as store:
        [model] = store.artifacts.of("tiny")
        assert store.artifacts.path(model).read_text() == "x"
    with pytest.raises(StudyError, match="There is a study tiny already"):
        fer_tune.import_study(exported)


def test_an_opening_counts_once_if_its_study_was_deleted_and_imported_again(exported: Path) -> None:
    split = fer_tune.find_study("tiny").split.hash
    for _ in range(2):
        fer_tune.delete_study("tiny")
        with open_store() as store:
            assert len(store.ledger.of_split(split)) == 1
        fer_tune.import_study(exported)
        with open_store() as store:
            [opening] = store.ledger.of_split(split)
            assert opening.id > 0


def test_the_storage_folder_may_be_named_relative_to_the_working_folder(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FER_TUNE_DIR", "here")
    fer_tune.import_study(exported)
    with open_store() as store:
        [model] = store.artifacts.of("tiny")
        assert store.artifacts.path(model).read_text() == "x"
    assert not Path("here/here").exists()


def test_a_study_that_runs_and_a_file_that_exists_are_refused(exported: Path, settings: Settings) -> None:
    with pytest.raises(StorageError, match="exists already"):
        fer_tune.export_study("tiny", exported)
    with StudyLock(settings, settings.url, "tiny"), pytest.raises(StudyError, match="is being run"):
        fer_tune.export_study("tiny", exported.with_name("b.tar"))


@pytest.mark.parametrize("name", ["../out", "artifacts/../../out", "/out", "other.db"])
def test_an_archive_writes_only_where_studies_have_files(tmp_path: Path, name: str) -> None:
    file = tmp_path / "evil.tar"
    with tarfile.open(file, "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(StorageError, match="which no exported study has"):
        fer_tune.import_study(file)
    assert not (tmp_path / "out").exists()


def test_a_study_that_has_another_name_here_is_refused(exported: Path) -> None:
    fer_tune.rename_study("tiny", "small")
    with pytest.raises(StudyError, match="is here already, with the name small"):
        fer_tune.import_study(exported)
    fer_tune.delete_study("small")
    assert fer_tune.import_study(exported).study == "tiny"


def test_what_is_no_archive_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")
    for file in (tmp_path / "text", tmp_path / "nowhere"):
        with pytest.raises(StorageError) as refused:
            fer_tune.import_study(file)
        assert "method gz" not in str(refused.value)
    with Store.of(Settings(settings.root, sqlite_url(settings.root / "fer_tune.db"))) as store:
        assert store.studies.all() == []
