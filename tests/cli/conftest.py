"""A command as a shell calls it, and a small study for it to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

from fer_tune.cli.app import app
from fer_tune.settings import Settings
from fer_tune.store import Store
from tests.studies import make_study

Run = Callable[..., Result]


@pytest.fixture
def fer_tune(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Calls a command as a shell would, 80 columns wide."""
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with make_study(settings) as store:
        yield store
