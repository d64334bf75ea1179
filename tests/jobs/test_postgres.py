"""Tests of a whole run on a real PostgreSQL server. Its password must not be written anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url

from fer_tune.data.dataset import Dataset
from fer_tune.errors import StorageError, StudyError
from fer_tune.job import EpochRow, Job
from fer_tune.mirror.process import MirrorLock
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store, StudyLock
from fer_tune.store.connection import parse_url
from fer_tune.study import trials
from tests.data.making import csv_text
from tests.jobs.helpers import INLINE, Notebook
from tests.pool.trainers import obedient
from tests.postgres import PASSWORD, NewDatabase
from tests.searches import make_sweep

pytestmark = pytest.mark.slow

SWEEP = (
    "family: simple_cnn\nbudget: {trials: 3, epochs: 2}\nparams: {width: 8, lr: {low: 1e-3, high: 1e-2, log: true}}\n"
)


def test_a_whole_run(postgres: NewDatabase, tmp_path: Path, demo: Dataset, settings: Settings) -> None:
    url = postgres()
    (tmp_path / "faces.csv").write_text(csv_text(demo.images, demo.labels))
    (tmp_path / "pg.yaml").write_text(SWEEP)
    run = ["run", "pg.yaml", "--data", "faces.csv", "--workers", "2", "--wandb", "offline", "--storage", url]
    others = [
        ["studies"], ["best", "--json"], ["trials", "--json"], ["watch", "--once"], ["report", "--out", "report.html"],
        ["retrain", "--epochs", "1", "--devices", "cpu"], ["doctor", "--json"], ["best", "--study", "nonesuch"],
    ]  # fmt: skip
    printed = {}
    environment = dict(os.environ, FER_TUNE_STORAGE=url, COLUMNS="300")
    for words in (run, run, *others):
        command = [sys.executable, "-m", "fer_tune", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110, check=False
        )
        assert done.returncode == (2 if "nonesuch" in words else 0), done.stdout + done.stderr
        printed[words[0]] = done.stdout + done.stderr
    assert len(json.loads(printed["trials"])) == 3
    found = json.loads(printed["doctor"])["findings"]
    assert {finding["state"] for finding in [*found["storage"], *found["studies"]]} == {"ok"}
    assert any("me:***@127.0.0.1" in finding["found"] for finding in found["storage"])

    kept = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any(name.endswith(".wandb") for name in kept)
    assert [name for name, content in kept.items() if PASSWORD.encode() in content] == []
    assert [name for name, text in printed.items() if PASSWORD in text] == []
    assert PASSWORD not in everything(url)


def everything(url: str) -> str:
    """Returns all rows of all tables, as text."""
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        names = inspect(connection).get_table_names()
        assert {"fer_epochs", "trials"} <= set(names)
        rows = [str(connection.exec_driver_sql(f"SELECT * FROM {name}").all()) for name in names]
    engine.dispose()
    return "\n".join(rows)


def test_a_wrong_password_and_a_database_that_is_not_there(postgres: NewDatabase) -> None:
    url = make_url(postgres())
    wrong = url.set(password="letmein-" + PASSWORD)
    for refused in (wrong, url.set(database="nonesuch"), url.set(password=None, query={"password": "letmein"})):
        with pytest.raises(StorageError) as caught:
            Store.open(refused.render_as_string(hide_password=False), patience=0)
        assert "letmein" not in str(caught.value)
        assert PASSWORD not in str(caught.value)


def test_a_study_is_run_once_and_mirrored_once_at_a_time(postgres: NewDatabase, tmp_path: Path) -> None:
    """Another storage folder plays another host, because it has other lock files."""
    url = postgres()
    here, there = Settings(tmp_path / "here", url), Settings(tmp_path / "there", url)
    with StudyLock(here, url, "tiny"), MirrorLock(here, "tiny"):  # a run and its mirror do not keep each other out
        for again in (StudyLock(there, url, "tiny"), MirrorLock(there, "tiny")):
            with pytest.raises(StudyError, match="tiny is being"):
                again.acquire()
    with StudyLock(there, url, "tiny"), MirrorLock(there, "tiny"):
        pass


def test_the_server_stops_in_the_middle_and_comes_back(postgres: NewDatabase, settings: Settings) -> None:
    """All connections break, and the lock is lost. The run waits, takes the lock again, and ends as
    without that."""
    settings = replace(settings, url=postgres())
    starter = Timer(2.0, postgres.start)

    def stop(job: Job, row: EpochRow) -> None:
        if (job.number, row.epoch) == (2, 2):
            postgres.stop()
            starter.start()

    watch = Notebook(on_epoch=stop)
    sweep = make_sweep(budget=5, epochs=4, seconds=0.01)
    outcome = run_sweeps([sweep], settings, replace(INLINE, workers=2), watch, obedient)
    starter.join()
    assert outcome.studies[0].counts.complete == 5
    assert any("Trying again" in note for note in watch.notes)
    assert any("This run holds it again" in note for note in watch.notes)
    with Store.of(settings) as store:
        assert [len(store.epochs.curve("s", str(trial.job))) for trial in trials(store, "s")] == [4] * 5
        assert [job.state for job in store.jobs.of("s")] == ["complete"] * 5
