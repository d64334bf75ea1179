"""A study seen from another terminal is what the database says of it."""

from __future__ import annotations

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.cli.board import Place
from fer_tune.cli.live import LiveView
from fer_tune.cli.watch import look
from fer_tune.settings import Settings
from tests.studies import epoch_row, make_study


def test_the_view_follows_the_database(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with make_study(settings) as store:
        record = store.study("tiny")
        store.start_attempt("tiny", 5, 0, 1, "cuda:1", 0)
        store.add_epoch("tiny", epoch_row(5, 1, 0.4))
        store.add_epoch("tiny", epoch_row(5, 2, 0.3))
        view = LiveView(Console(width=80))
        look(view, store, record)
        assert (view.done, view.pruned, view.failed, view.budget) == (3, 1, 1, 20)
        assert (view.best, view.best_trial) == (0.6, 1)
        assert view.places[1] == Place("cuda:1", "training", 5, None, 2, 3, 0.3, 0.4)
        assert view.places[0].doing == "idle"
        printed = CliRunner().invoke(app, ["watch", "--study", "tiny"])
        assert printed.exit_code == 0, printed.output
        for told in ("5/20", "3 done", "60.00 %", "cuda:1", "2/3"):
            assert told in printed.stdout
        assert max(map(len, printed.stdout.splitlines())) <= 80
        assert CliRunner().invoke(app, ["watch", "--study", "tony"]).exit_code == 2
