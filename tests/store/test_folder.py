"""Tests that a database has one storage folder, and that another one is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fer_tune.errors import StorageError
from fer_tune.store import Store, claim
from fer_tune.store.folder import NAME, folder_id


def opened(root: Path, database: Path) -> Store:
    return Store.open(f"sqlite:///{database}", root=root)


def claimed(root: Path, database: Path) -> None:
    with opened(root, database) as store:
        claim(store)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Returns a database that belongs to the folder `a`, outside of it."""
    (tmp_path / "a").mkdir()
    claimed(tmp_path / "a", tmp_path / "shared.db")
    return tmp_path / "shared.db"


def test_another_folder_is_refused_with_what_to_do(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"belongs to the storage folder {tmp_path}/a, not to {tmp_path}/b") as found:
        claimed(tmp_path / "b", shared)
    assert f"FER_TUNE_DIR={tmp_path}/a" in found.value.hint
    claimed(tmp_path / "a", shared)


def test_what_the_refusal_advises_works(shared: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(StorageError) as found:
        claimed(tmp_path / "b", shared)
    command = found.value.hint.split("`")[1]
    assert command.startswith("echo ")
    word, _, path = command.removeprefix("echo ").partition(" > ")
    Path(path).write_text(f"{word}\n")
    claimed(tmp_path / "b", shared)


def test_a_folder_that_lost_its_id_is_told_what_to_write(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "a" / NAME).unlink()
    with pytest.raises(StorageError, match="is not the file of this storage folder") as found:
        claimed(tmp_path / "a", shared)
    word, _, path = found.value.hint.split("`")[1].removeprefix("echo ").partition(" > ")
    Path(path).write_text(f"{word}\n")
    claimed(tmp_path / "a", shared)


def test_a_folder_may_move_and_be_spelt_in_another_way(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a")
    claimed(tmp_path / "link", shared)
    (tmp_path / "a").rename(tmp_path / "moved")
    claimed(tmp_path / "moved", shared)
    with pytest.raises(StorageError, match=f"{tmp_path}/moved"):
        claimed(tmp_path / "b", shared)


def test_a_copy_of_the_folder_is_another_folder(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    with pytest.raises(StorageError, match=f"not to {tmp_path}/copy"):
        claimed(tmp_path / "copy", shared)


def test_a_copy_that_has_its_own_database_is_a_folder_like_any_other(tmp_path: Path) -> None:
    claimed(tmp_path / "a", tmp_path / "a" / "fer_tune.db")
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    claimed(tmp_path / "copy", tmp_path / "copy" / "fer_tune.db")
    claimed(tmp_path / "a", tmp_path / "a" / "fer_tune.db")


def test_a_folder_may_have_several_databases(shared: Path, tmp_path: Path) -> None:
    claimed(tmp_path / "a", tmp_path / "other.db")
    claimed(tmp_path / "a", shared)


def test_a_reader_may_have_another_folder(shared: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "elsewhere", shared) as store:
        assert store.studies.all() == []
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("content", [b"", b"x", b"\xff\xfe", b"0" * 100])
def test_an_id_that_is_damaged_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(StorageError, match=NAME):
        folder_id(tmp_path)
    assert (tmp_path / NAME).read_bytes() == content


def test_an_id_is_given_once(tmp_path: Path) -> None:
    first = folder_id(tmp_path)
    assert folder_id(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
