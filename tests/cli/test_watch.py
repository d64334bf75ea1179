"""`watch` in another terminal shows what the database says: before, during and after a run."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import optuna
import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner, Result

from fer_tune.cli.app import app
from fer_tune.display.from_database import StudyReader
from fer_tune.job import JobEnd
from fer_tune.pool import Slot
from fer_tune.settings import Settings
from fer_tune.store import Store, StudyLock, confirm_lock, final_lock, tables
from fer_tune.study import trials
from fer_tune.study.storage import optuna_storage
from fer_tune.study.summaries import summaries, trial
from tests.studies import epoch_row, job_of, make_study, uid_of


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
            tx.execute(update(tables.attempts).where(tables.attempts.c.job_id == row.job_id).values(**moments))


def start_trial(store: Store, lane: int = 0) -> int:
    """A trial that a lane of a worker has begun; returns its number."""
    study = optuna.load_study(study_name="tiny", storage=optuna_storage(store))
    number = study.ask({"lr": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)}).number
    job = job_of(number, store.studies.get("tiny").data_ref(store.root))
    store.jobs.put(job)
    store.jobs.start_attempt(job, 1, "cuda:1", lane)
    return number


def test_each_lane_with_a_job_has_a_line(settings: Settings) -> None:
    with make_study(settings) as store, StudyLock(settings, settings.url, "tiny"):
        numbers = [start_trial(store, lane) for lane in range(3)]
        for number in numbers:
            store.epochs.add(replace(epoch_row(number, 1, 0.4), images_per_second=1000.0))
        reader = StudyReader(store, store.studies.get("tiny"))
        lanes = [Slot(1, lane) for lane in range(3)]
        assert [slot for slot in sorted(reader.read().workers) if slot.worker == 1] == lanes
        assert reader.read().rates["cuda:1"] == 3000.0
        assert "1.2 cuda:1" in watched().stdout
        store.jobs.end_attempt(JobEnd(uid_of(numbers[2]), 0, "completed"))
        assert [slot for slot in sorted(reader.read().workers) if slot.worker == 1] == lanes[:2]


def test_a_running_study(settings: Settings) -> None:
    with make_study(settings) as store, StudyLock(settings, settings.url, "tiny"):
        number = start_trial(store)
        store.epochs.add(epoch_row(number, 1, 0.4))
        reader = StudyReader(store, store.studies.get("tiny"))
        assert reader.read().running[0].epoch == 1
        store.epochs.add(epoch_row(number, 2, 0.3))
        state = reader.read()
        assert state.counts == {"complete": 3, "pruned": 1, "failed": 1}
        assert (state.budget, len(state.running)) == (20, 1)
        assert (state.best[0].value, state.best[0].number) == (0.6, 1)
        [job] = state.running
        assert (job.number, job.curve, job.shown_value) == (number, [0.4, 0.3], 0.3)
        assert (state.workers[Slot(1)].device, state.workers[Slot(1)].job) == ("cuda:1", job)
        assert state.workers[Slot(0)].doing == "idle"
        assert state.spent == 0.25 * 13
        assert state.costs.saved == 0.25
        assert state.remark == ""
        printed = watched()
        assert printed.exit_code == 0, printed.output
        for text in ("5/20", "3 complete", "1 running", "best 60.00 %", "cuda:1", "2/3", "left", "0:00:03 spent"):
            assert text in printed.stdout
        assert f"trial {number}: width 8" in printed.stdout
        assert max(map(len, printed.stdout.splitlines())) <= 80


def test_a_slow_run_is_alive_while_its_lock_is_held(settings: Settings) -> None:
    """After an hour without news, the lock says that the run lives. The silence does not matter."""
    with make_study(settings, curves=()) as store:
        number = start_trial(store)
        age(store, timedelta(hours=1, seconds=4))
        with StudyLock(settings, settings.url, "tiny"):
            printed = watched().stdout
            assert "killed" not in printed
            assert "Not running" not in printed
            assert "1 running" in printed
            assert "GPU-hours – spent" in printed
            assert "about – left" in printed
            assert "1:00:0" in re.search(r"0/3 +(\S+)", printed).group(1)  # type: ignore[union-attr] - in its first epoch
        printed = watched().stdout
        assert "Not running. 1 trial was interrupted; the next run continues from there." in printed
        assert "0 running · 0 pruned · 0 failed · 1 interrupted" in printed
        assert "left" not in printed
        assert "– elapsed" in printed
        assert trials(store, "tiny", ("interrupted",))[0].number == number


def test_every_view_calls_a_trial_without_a_run_interrupted(settings: Settings) -> None:
    with make_study(settings) as store:
        number = start_trial(store)
        with StudyLock(settings, settings.url, "tiny"):
            assert trial(store, "tiny", number).state == "running"
            assert summaries(store)[0].counts.running == 1
        assert trial(store, "tiny", number).state == "interrupted"
        assert trials(store, "tiny")[number].state == "interrupted"
        counts = summaries(store)[0].counts
        assert (counts.running, counts.interrupted) == (0, 1)
        printed = CliRunner().invoke(app, ["trials", "--study", "tiny"]).stdout
        assert "interrupted" in printed
        assert "running" not in printed


def test_final_fits_that_are_being_trained(settings: Settings) -> None:
    with make_study(settings) as store:
        searched = job_of(6, store.studies.get("tiny").data_ref(store.root))
        fit = replace(searched, kind="final", number=None, seed=4, until=2, fit="train+val", params={"lr": 0.5})
        store.jobs.put(fit, origin={"batch": "b", "seeds": 3})
        store.jobs.start_attempt(fit, 0, "cpu")
        store.epochs.add(replace(epoch_row(6, 1, float("nan")), train_accuracy=0.875))
        assert StudyReader(store, store.studies.get("tiny")).read().kind == "search"
        with StudyLock(settings, settings.url, final_lock("tiny", "b")):
            printed = watched().stdout
    for text in ("final fits", "0/3", "1 running", "seed", "1/2", "87.50 %", "6.100", f"final fit {fit.uid}: lr 0.5"):
        assert text in printed


def test_a_study_that_has_ended(settings: Settings) -> None:
    with make_study(settings) as store:
        age(store, timedelta(hours=2))
        job = job_of(5, store.studies.get("tiny").data_ref(store.root))
        store.jobs.put(job)
        store.jobs.start_attempt(job, 1, "cpu")  # another run, hours later
        store.jobs.end_attempt(JobEnd(job.uid, 0, "completed"))
        store.jobs.set_state(job.uid, "complete", value=0.5)
        age(store, timedelta(minutes=1))
        state = StudyReader(store, store.studies.get("tiny")).read()
        assert state.workers == {}
        assert state.elapsed is not None
        assert 0 <= state.elapsed < 5
        assert state.left is None
        ended = datetime.now(UTC) - timedelta(minutes=1)
        assert f"Not running. The last trial ended {ended.astimezone():%Y-%m-%d %H:%M}"[:-1] in watched().stdout


def test_confirmations_that_are_being_trained(settings: Settings) -> None:
    with make_study(settings) as store:
        job = replace(job_of(7, store.studies.get("tiny").data_ref(store.root)), kind="confirm", number=None, seed=4)
        store.jobs.put(job, origin={"trial": 1, "round": 0, "seeds": 3})
        store.jobs.start_attempt(job, 0, "cpu")
        with StudyLock(settings, settings.url, confirm_lock("tiny")):
            text = watched().stdout
    assert all(part in text for part in ("confirmations", "0/3", "1 running"))


def test_a_study_without_a_trial(settings: Settings) -> None:
    with make_study(settings, curves=()):
        printed = watched()
        assert printed.exit_code == 0, printed.output
        assert "No trial has started yet." in printed.stdout
        assert "– elapsed" in printed.stdout
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
