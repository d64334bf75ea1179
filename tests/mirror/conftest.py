"""A study that is made once, a database of its own for each test, and wandb's server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fer_tune.settings import Settings
from fer_tune.store import Store
from tests.mirror.server import Wandb, serving
from tests.studies import make_study


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the database of a study `tiny` with five trials that are over."""
    root = tmp_path_factory.mktemp("made")
    with make_study(Settings(root, f"sqlite:///{root.as_posix()}/fer_tune.db")):
        _copy(root / "fer_tune.db", root / "made.db")
    return root / "made.db"


@pytest.fixture
def store(settings: Settings, made: Path) -> Iterator[Store]:
    settings.root.mkdir(parents=True)
    _copy(made, settings.root / "fer_tune.db")
    with Store.of(settings, create=False) as store:
        yield store


def _copy(source: Path, target: Path) -> None:
    """Copies through SQLite, because the last writes may be in a file beside it."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


@pytest.fixture
def server() -> Iterator[Wandb]:
    with serving() as server:
        yield server
