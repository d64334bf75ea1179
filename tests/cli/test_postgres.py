"""Every command on a PostgreSQL database: what it says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from fer_tune.cli.app import app
from fer_tune.data.dataset import Dataset
from fer_tune.store import Store
from fer_tune.study import trials
from tests.data.making import csv_text
from tests.postgres import PASSWORD, NewDatabase

pytestmark = pytest.mark.slow

SWEEP = """
family: simple_cnn
data: faces.csv
sampler: random
pruner: none
budget: {trials: 3, epochs: 2}
params: {width: 8, lr: {low: 1e-3, high: 1e-2, log: true}}
"""
CPU = ["--devices", "cpu"]
INLINE = ["--engine", "inline", *CPU]


@dataclass
class World:
    """A folder and a database in which commands run.

    Attributes:
        done: what each command printed that ran before the tests.
    """

    folder: Path
    url: str

    def call(self, *words: str) -> Result:
        here = os.getcwd()
        os.chdir(self.folder)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("FER_TUNE_DIR", str(self.folder / "storage"))
                patch.setenv("FER_TUNE_STORAGE", self.url)
                patch.setenv("COLUMNS", "200")
                return CliRunner().invoke(app, list(words))
        finally:
            os.chdir(here)

    def environment(self) -> dict[str, str]:
        return dict(os.environ, FER_TUNE_DIR=str(self.folder / "storage"), FER_TUNE_STORAGE=self.url)


def world_of(folder: Path, url: str, demo: Dataset) -> World:
    (folder / "faces.csv").write_text(csv_text(demo.images, demo.labels))
    Image.fromarray(np.asarray(demo.images[0])).save(folder / "face.png")
    for name in ("one", "two"):
        (folder / f"{name}.yaml").write_text(f"study: {name}\n{SWEEP}")
    return World(folder, url)


@pytest.fixture(scope="module")
def world(postgres: NewDatabase, demo: Dataset, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Returns a database with two studies, confirmations, a final fit and an ensemble."""
    made = world_of(tmp_path_factory.mktemp("postgres"), postgres(), demo)
    for words in (
        ["run", "one.yaml", "two.yaml", *INLINE, "--wandb", "offline"],
        ["confirm", "--study", "one", "--top", "2", "--seeds", "2", *CPU, "--wandb", "disabled"],
        ["retrain", "--study", "one", "--out", "model", *CPU, "--wandb", "disabled"],
        ["ensemble", "--studies", "one,two", "--size", "2", *CPU, "--wandb", "disabled"],
    ):
        done = made.call(*words)
        assert done.exit_code == 0, done.output
        assert "The run continues without it" not in done.output, "an observer failed"
    return made


COMMANDS = [
    (["run", "one.yaml", *INLINE, "--wandb", "disabled"], 0, "3 of 3 trials"),
    (["run", "one.yaml", "--plan", *INLINE], 0, "one"),
    (["best", "--study", "one"], 0, "confirmed"),
    (["best", "--study", "two", "--top", "3", "--json"], 0, '"study": "two"'),
    (["trials", "--study", "one", "--csv"], 0, "number"),
    (["trials", "--study", "one", "--failed"], 0, ""),
    (["studies"], 0, "two"),
    (["studies", "--json"], 0, '"two"'),
    (["watch", "--study", "one", "--once"], 0, "one"),
    (["report", "--study", "one", "--out", "report.html"], 0, "report.html"),
    (["replay", "--study", "one"], 0, ""),
    (["compare", "one", "two"], 0, ""),
    (["sync", "--study", "one"], 0, "one:"),
    (["confirm", "--study", "one", "--top", "2", "--seeds", "2", *CPU, "--wandb", "disabled"], 0, ""),
    (["retrain", "--study", "two", "--epochs", "1", *CPU, "--wandb", "disabled"], 0, "test"),
    (["evaluate", "model", "faces.csv"], 0, ""),
    (["predict", "model", "face.png"], 0, ""),
    (["doctor", "--json"], 0, '"state": "ok"'),
    (["backup"], 2, "pg_dump"),
    (["restore", "faces.csv"], 2, "pg_restore"),
    (["stop", "--study", "one"], 2, "one"),
    (["best", "--study", "nonesuch"], 2, "nonesuch"),
    (["studies", "delete", "nonesuch"], 2, "nonesuch"),
]


@pytest.mark.parametrize(
    ("words", "code", "said"), COMMANDS, ids=lambda given: " ".join(given[:4]) if isinstance(given, list) else ""
)
def test_a_command(world: World, words: Sequence[str], code: int, said: str) -> None:
    done = world.call(*words)
    assert done.exit_code == code, done.output
    assert said in done.output
    assert PASSWORD not in done.output


def test_the_dashboard(world: World) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "fer_tune", "dashboard", "--port", str(port)]
    process = subprocess.Popen(
        command, env=world.environment(), cwd=world.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=5) as answer:
                    names = [study["study_name"] for study in json.load(answer)["study_summaries"]]
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None, process.stdout.read()  # type: ignore[union-attr]
                time.sleep(0.2)
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert names == ["one", "two"]


def test_a_run_is_killed_and_continues(postgres: NewDatabase, demo: Dataset, tmp_path: Path) -> None:
    world = world_of(tmp_path, postgres(), demo)
    words = ["run", "one.yaml", "--workers", "2", *CPU, "--wandb", "offline", "--trials", "6", "--set", "pruner=none"]
    command = [sys.executable, "-m", "fer_tune", *words]
    process = subprocess.Popen(
        command, env=world.environment(), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 100
    while finished(world) < 2 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 2 <= finished(world) < 6
    done = world.call(*words)
    assert done.exit_code == 0, done.output
    with Store.open(world.url) as store:
        counted = [trial for trial in trials(store, "one") if trial.state != "requeued"]
        assert [trial.state for trial in counted] == ["complete"] * 6
        assert all(attempt.ended for attempt in store.jobs.attempts("one"))
        assert all(len(store.epochs.curve("one", str(trial.job))) == 2 for trial in counted)


def finished(world: World) -> int:
    try:
        with Store.open(world.url, create=False) as store:
            if store.studies.find("one") is None:
                return 0
            return sum(trial.state == "complete" for trial in trials(store, "one"))
    except Exception:  # the tables are being made
        return 0
