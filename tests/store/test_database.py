"""Tests of databases that cannot be used, and of URLs with passwords.

A database is missing, damaged, locked or read-only, or another program or version made it.
"""

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from fer_tune.errors import FerTuneError, StorageError
from fer_tune.store import Store
from fer_tune.store.connection import parse_url, shown

from .conftest import record


def at(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_pragmas_hold_on_every_connection(store: Store) -> None:
    with store.engine.connect() as one, store.engine.connect() as two:
        for connection in (one, two):
            values = [connection.execute(text(f"PRAGMA {p}")).scalar() for p in ("journal_mode", "synchronous")]
            assert values == ["wal", 1]
            assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_a_missing_database_is_not_made_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no database"):
        Store.open(at(tmp_path / "sub/none.db"), create=False)
    assert not (tmp_path / "sub").exists()


def test_a_reader_refuses_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(StorageError, match="no studies"):
        Store.open(at(tmp_path / "empty.db"), create=False)


def test_a_foreign_database_is_recognised_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "foreign.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(StorageError, match="recipes") as caught:
        Store.open(at(file))
    assert "--storage" in caught.value.hint
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    connection.close()


def test_a_newer_database_is_recognised(tmp_path: Path) -> None:
    with Store.open(at(tmp_path / "a.db")) as store, store.engine.begin() as tx:
        tx.execute(text("UPDATE fer_schema SET version = 99"))
    with pytest.raises(StorageError, match="newer or unknown fer-tune"):
        Store.open(at(tmp_path / "a.db"))


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to have a header" * 30, b"SQLite format 3\0"]
)
def test_a_file_that_is_no_database_is_recognised_and_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "torn.db"
    file.write_bytes(content + b"\xff" * 4096)
    with pytest.raises(StorageError, match=r"not an SQLite database|damaged"):
        Store.open(at(file))
    assert file.read_bytes() == content + b"\xff" * 4096


def test_a_damaged_page_is_an_error_for_the_user(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    with Store.open(at(file)) as store:
        for number in range(200):
            store.studies.add(record(f"study-{number}", f"{number:08x}"))
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(file.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    file.write_bytes(content)
    with pytest.raises(StorageError, match=r"damaged"):
        Store.open(at(file), create=False).studies()


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is not a regular file"):
        Store.open(at(tmp_path))


def test_a_file_in_the_way_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be created"):
        Store.open(at(tmp_path / "file/a.db"))


def hold(file: Path, seconds: float) -> threading.Thread:
    """Holds SQLite's write lock from another connection."""
    held = threading.Event()

    def work() -> None:
        connection = sqlite3.connect(file, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        held.set()
        time.sleep(seconds)
        connection.execute("ROLLBACK")
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    held.wait()
    return thread


def test_a_lock_is_waited_for_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_tune.store.connection.BUSY_SECONDS", 0.1)
    with Store.open(at(tmp_path / "a.db"), patience=10) as store:
        said: list[str] = []
        store.patiently.note = said.append
        holder = hold(tmp_path / "a.db", 1.0)
        store.studies.add(record())
        holder.join()
        assert store.studies.get("resnet").name == "resnet"
        assert len(said) == 2
        assert "locked" in said[0]
        assert "can be written again" in said[1]
        assert 0.9 < store.patiently.waited < 5


def test_a_lock_that_stays_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_tune.store.connection.BUSY_SECONDS", 0.1)
    with Store.open(at(tmp_path / "a.db"), patience=0.5) as store:
        holder = hold(tmp_path / "a.db", 2.0)
        start = time.monotonic()
        with pytest.raises(StorageError, match="locked") as caught:
            store.studies.add(record())
        assert time.monotonic() - start < 1.5
        assert "backup" in caught.value.hint
        holder.join()
        assert store.studies.all() == []


def test_many_processes_make_one_database(tmp_path: Path) -> None:
    code = (
        "import sys, time; from fer_tune.store import Store; time.sleep(max(0, float(sys.argv[2]) - time.time()));"
        "Store.open(sys.argv[1]).studies.all()"
    )
    start = str(time.time() + 1.5)
    command = [sys.executable, "-c", code, at(tmp_path / "new/a.db"), start]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [child.communicate(timeout=60)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0, 0], "".join(errors)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "oracle9://x",
        "mysql://x/y",
        "postgresql://u:hunter2@nowhere.invalid/x",
    ],
)
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(FerTuneError) as caught:
        Store.open(url, patience=0)
    assert "hunter2" not in str(caught.value)
    assert caught.value.hint


def test_a_table_that_is_missing_is_named_with_what_to_do(database_url: str) -> None:
    Store.open(database_url).close()
    with (
        Store.open(database_url) as store,
        store.engine.connect() as connection,
        pytest.raises(StorageError, match="lacks the table nonesuch") as caught,
    ):
        store.patiently(lambda: connection.exec_driver_sql("SELECT * FROM nonesuch"))
    assert "fer-tune restore" in str(caught.value.hint)


def test_a_password_is_never_shown() -> None:
    pytest.importorskip("psycopg")
    for url in ("postgresql://me:hunter2@host/db", "postgresql://host/db?password=hunter2&user=me"):
        assert "hunter2" not in shown(parse_url(url))
        assert "***" in shown(parse_url(url))


def test_the_url_is_the_same_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_url("sqlite:///a.db") == parse_url(at(tmp_path / "a.db"))
