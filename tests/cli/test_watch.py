"""A study seen from another terminal is what the database says of it: before, while and after it runs."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner, Result

from fer_tune.cli.app import app
from fer_tune.display.from_database import History
from fer_tune.display.run_state import Place, Point
from fer_tune.job import JobEnd
from fer_tune.settings import Settings
from fer_tune.store import Store, tables
from tests.studies import epoch_row, make_study


@pytest.fixture(autouse=True)
def eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def watched() -> Result:
    return CliRunner().invoke(app, ["watch", "--study", "tiny", "--once"])


def age(store: Store, by: timedelta) -> None:
    """Moves what is recorded of the attempts into the past."""
    with store.engine.begin() as tx:
        for row in tx.execute(select(tables.attempts)).all():
            moments = {"started": row.started - by, "ended": row.ended and row.ended - by}
            tx.execute(update(tables.attempts).where(tables.attempts.c.number == row.number).values(**moments))


def test_a_running_study(settings: Settings) -> None:
    with make_study(settings) as store:
        store.jobs.start_attempt("tiny", 5, 0, 1, "cuda:1", 0)
        store.epochs.add("tiny", epoch_row(5, 1, 0.4))
        history = History(store, store.studies.get("tiny"))
        assert history.board().places[1].epoch == 1
        store.epochs.add("tiny", epoch_row(5, 2, 0.3))
        board = history.board()
        assert (board.done, board.pruned, board.failed, board.budget, board.running) == (3, 1, 1, 20, 1)
        assert board.best is not None
        assert (board.best.value, board.best.number) == (0.6, 1)
        curve = [Point(1, 0.4, 0.25), Point(2, 0.3, 0.25)]
        assert board.places[1] == Place("cuda:1", "training", 5, None, 3, curve, epoch_row(5, 2, 0.3).images_per_second)
        assert board.places[0].doing == "idle"
        assert board.spent == 0.25 * 13
        assert board.saved == 0.25
        assert board.remark == ""
        printed = watched()
        assert printed.exit_code == 0, printed.output
        for told in ("5/20", "3 done", "1 running", "best 60.00 %", "cuda:1", "2/3", "left", "0:00:03 spent"):
            assert told in printed.stdout
        assert max(map(len, printed.stdout.splitlines())) <= 80
        age(store, timedelta(hours=1))
        assert "was the run killed?" in watched().stdout


def test_a_study_that_has_ended(settings: Settings) -> None:
    with make_study(settings) as store:
        age(store, timedelta(hours=2))
        store.jobs.start_attempt("tiny", 5, 0, 1, "cpu", 0)  # another run, hours later
        store.jobs.end_attempt("tiny", JobEnd(5, 0, "completed"))
        age(store, timedelta(minutes=1))
        board = History(store, store.studies.get("tiny")).board()
        assert list(board.places) == [1]
        assert 0 <= board.elapsed < 5
        assert board.left is None
        ended = datetime.now(UTC) - timedelta(minutes=1)
        assert f"not running; the last trial ended {ended.astimezone():%Y-%m-%d %H:%M}"[:-1] in watched().stdout


def test_a_study_without_a_trial(settings: Settings) -> None:
    with make_study(settings, curves=()):
        printed = watched()
        assert printed.exit_code == 0, printed.output
        assert "no trial has started yet" in printed.stdout
        assert "0/20" in printed.stdout
    assert CliRunner().invoke(app, ["watch", "--study", "tony"]).exit_code == 2


def test_the_budget_is_that_of_the_last_run(settings: Settings) -> None:
    from tests.studies import SWEEP

    with make_study(settings), make_study(settings, (), SWEEP.replace("trials: 20", "trials: 7")):
        assert "5/7" in watched().stdout


def test_it_draws_in_place_until_ctrl_c(settings: Settings) -> None:
    make_study(settings).close()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fer_tune", "watch", "--interval", "0.2"]
    environment = dict(os.environ, TERM="xterm")
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment) as process:
        os.close(theirs)
        seen = b""
        until = time.monotonic() + 30
        while seen.count(b"best trials") < 3 and time.monotonic() < until:
            seen += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(10) == 0
    os.close(ours)
    assert seen.count(b"best trials") >= 3
    assert b"\x1b[1A" in seen  # drawn over what was drawn before
