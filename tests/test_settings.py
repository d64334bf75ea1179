"""Tests of the paths of the storage folder and the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_tune.settings import Settings
from fer_tune.store import Store
from tests.studies import make_study

ODD = ["p?a", "p%20q", "p#b", "a b", "ü+&=", "%zz", "@host:1"]


@pytest.mark.parametrize("name", ODD)
def test_the_database_is_in_the_storage_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / name, Path(name)):  # absolute, then relative
        monkeypatch.setenv("FER_TUNE_DIR", str(folder))
        make_study(Settings.from_environment(), ()).close()
        assert [path.name for path in tmp_path.iterdir()] == [name]
        assert (tmp_path / name / "fer_tune.db").is_file()


def test_two_folders_have_two_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("p?a", "p?b"):
        monkeypatch.setenv("FER_TUNE_DIR", str(tmp_path / name))
        make_study(Settings.from_environment(), ()).close()
    monkeypatch.setenv("FER_TUNE_DIR", str(tmp_path / "p?b"))
    with Store.of(Settings.from_environment(), create=False) as store:
        assert store.root == tmp_path / "p?b"
    assert len({path.resolve() for path in tmp_path.rglob("fer_tune.db")}) == 2


def test_an_explicit_url_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_TUNE_STORAGE", "sqlite:///from/environment.db")
    assert Settings.from_environment().url == "sqlite:///from/environment.db"
    assert Settings.from_environment("sqlite:///given.db").url == "sqlite:///given.db"
