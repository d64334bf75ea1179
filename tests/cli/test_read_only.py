"""Tests that commands which only read work on a folder without write permission."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import pytest
from typer.testing import CliRunner

from fer_tune.api.for_commands import dashboard_application
from fer_tune.cli.app import app
from fer_tune.settings import Settings, sqlite_url
from tests.studies import make_study

NOBODY = 65534
"""A user who may read the archive and not write it. Root may write anything."""


@contextmanager
def as_reader() -> Iterator[None]:
    """Acts as a user without the right to write. Tests that run as a user have no such right."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def close(folder: Path) -> None:
    """Takes the right to write away from everybody."""
    for place in (folder, *folder.rglob("*")):
        place.chmod(0o555 if place.is_dir() else 0o444)


@pytest.fixture(scope="module")
def written() -> Iterator[Path]:
    """Yields a storage folder with a study, outside of the tests' folder, which is root's.

    All modules are imported, because the reader may not be allowed to read them.
    """
    with tempfile.TemporaryDirectory(prefix="archive-") as name:
        root = Path(name) / "written"
        make_study(Settings(root, sqlite_url(root / "fer_tune.db"))).close()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FER_TUNE_DIR", str(root))
            for words in (*COMMANDS, ("report", "--out", str(root / "report.html"))):
                assert CliRunner().invoke(app, list(words)).exit_code == 0
            page()
        Path(name).chmod(0o755)
        yield root


@pytest.fixture
def archive(written: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yields a copy of the storage folder, which the test may change and close."""
    root = written.parent / "storage"
    shutil.copytree(written, root, ignore=lambda folder, names: {*names} - {"fer_tune.db"})
    monkeypatch.setenv("FER_TUNE_DIR", str(root))
    yield root
    for place in (root, *root.rglob("*")):
        place.chmod(0o755)
    shutil.rmtree(root)


def answer(*words: str) -> str:
    with as_reader():
        done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, (words, done.output, done.exception)
    return done.output


COMMANDS = (
    ("best", "--json"),
    ("trials", "--csv"),
    ("trials", "--failed"),
    ("studies", "--json"),
    ("watch", "--once"),
)


def page(study: str | None = None) -> bytes:
    """Returns what the dashboard answers to its first request."""
    environment = {"PATH_INFO": "/api/studies"}
    setup_testing_defaults(environment)
    answers: list[str] = []
    with dashboard_application(study) as (application, _):
        body = b"".join(application(environment, lambda status, headers, error=None: answers.append(status)))
    assert answers == ["200 OK"]
    return body


def test_commands_that_read(archive: Path) -> None:
    before = [answer(*words) for words in COMMANDS]
    close(archive)
    assert [answer(*words) for words in COMMANDS] == before
    assert [path.name for path in archive.iterdir()] == ["fer_tune.db"]


def test_a_report_is_written_elsewhere(archive: Path, tmp_path: Path) -> None:
    close(archive)
    with tempfile.TemporaryDirectory(prefix="reports-") as folder:
        Path(folder).chmod(0o777)
        answer("report", "--out", f"{folder}/report.html")
        assert "tiny" in Path(folder, "report.html").read_text()


def test_the_dashboard(archive: Path) -> None:
    close(archive)
    with as_reader():
        assert b"tiny" in page("tiny")


def killed(archive: Path) -> None:
    """Leaves the database as a killed run does: rows are in the write-ahead log only."""
    with closing(sqlite3.connect(archive / "fer_tune.db")) as connection:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("UPDATE fer_studies SET family = 'vgg'")
        connection.commit()
        for name in ("fer_tune.db", "fer_tune.db-wal", "fer_tune.db-shm"):
            shutil.copy(archive / name, archive / f"{name}.kept")
    for name in ("fer_tune.db", "fer_tune.db-wal", "fer_tune.db-shm"):
        (archive / f"{name}.kept").rename(archive / name)


@pytest.mark.parametrize("companion", [True, False])
def test_rows_that_are_only_in_the_log_are_read(companion: bool, archive: Path) -> None:
    killed(archive)
    if not companion:
        (archive / "fer_tune.db-shm").unlink()
    close(archive)
    assert '"family": "vgg"' in answer("studies", "--json")


def test_an_older_format_is_upgraded_in_a_copy(archive: Path) -> None:
    for file in archive.iterdir():
        file.unlink()
    shutil.copy(Path(__file__).parents[1] / "store" / "format-1.db", archive / "fer_tune.db")
    before = (archive / "fer_tune.db").read_bytes()
    close(archive)
    copies = set(Path(tempfile.gettempdir()).glob("fer-tune-read-*"))
    assert '"name": "old"' in answer("studies", "--json")
    assert (archive / "fer_tune.db").read_bytes() == before
    assert set(Path(tempfile.gettempdir()).glob("fer-tune-read-*")) <= copies
