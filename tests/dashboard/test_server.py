"""The real dashboard in a real browser: notes, pictures, and a silent end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.cli.dashboard import _server
from fer_tune.dashboard.server import application, study_id
from fer_tune.dashboard.writer import NoteWriter
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import Study
from fer_tune.sweep.load import loads_sweep
from tests import browser
from tests.studies import SWEEP, add_trial, make_study

FIXED = """\
  optimizer: adamw
  weight_decay: 0.0123
  schedule: cosine
  warmup: 0.1
  batch_size: 64
  label_smoothing: 0.1
  ema: 0.995
  grad_clip: 1.0
  self_distillation: 0.5
  dropout_ramp: rising
  augment: 0.5
  mixup: 0.2
  cutmix: 0.2
  sampling: weighted
  sampling_power: 0.5
  block_dropout: 0.1
  block_dropout_step: 0.05
  head_dropout: 0.4
start:
"""
SEARCHED_AND_FIXED = SWEEP.replace("start:\n", FIXED)
"""A sweep with as many hyperparameters as the shipped ones."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("dashboard") / "storage"
    return Settings(root, f"sqlite:///{root.as_posix()}/fer_tune.db")


@pytest.fixture(autouse=True)
def found_by_the_command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_TUNE_DIR", str(settings.root))


@pytest.fixture(scope="module")
def store(settings: Settings) -> Iterator[Store]:
    """Shared by the tests; one of them adds trials after the fifth."""
    with make_study(settings, sweep=SEARCHED_AND_FIXED) as store:
        writer = NoteWriter(store, settings, "tiny")
        writer.catch_up()
        confusion = settings.artifacts / "confusion.png"
        Image.new("L", (8, 8)).save(confusion)
        writer.add_final_fit(1, confusion)
        yield store


@pytest.fixture
def address(store: Store, settings: Settings) -> Iterator[str]:
    with _server("127.0.0.1", 0, application(store, settings)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def plain(store: Store, settings: Settings) -> Iterator[str]:
    """Plain optuna-dashboard, as a user starts it on the database and the pictures."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = Path(sys.executable).with_name("optuna-dashboard")
    process = subprocess.Popen(
        [command, settings.url, "--artifact-dir", settings.pictures, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield answering(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def answering(url: str) -> str:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            ask(url)
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return url
    raise TimeoutError(url)


def ask(url: str, method: str = "GET", body: Any = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return bytes(answer.read())


@pytest.mark.skipif(browser.found() is None, reason="no Chromium is installed")
def test_the_plain_dashboard_in_a_browser_while_a_run_goes_on(store: Store, settings: Settings, plain: str) -> None:
    loaded = "[...document.images].filter(image => image.complete && image.naturalWidth > 300).length"
    with browser.Browser() as page:
        page.look(1280, 900)
        page.open(f"{plain}/dashboard")
        page.shows("1. tiny")
        page.open(f"{plain}/dashboard/studies/{study_id(store, 'tiny')}/trials?numbers=1")
        page.shows("complete at 60.00 % (+10.00 over the best of start), best epoch 3 of 3")
        page.shows("learning curves.svg", "final fit, on test.png", "parameters 1234", "device cpu", "3 0.6")
        page.until(f"{loaded} >= 1")
        link = "[...document.querySelectorAll('a')].find(a => a.innerText === 'learning curves.svg' && a.href)"
        assert "/artifacts/" in page.run(f"{link}.href")
        assert page.run(f"fetch({link}.href).then(answer => answer.text())").startswith("<svg")
        assert page.run("document.documentElement.scrollWidth") == 1280
        page.open(f"{plain}/dashboard/studies/{study_id(store, 'tiny')}")
        page.shows("val_accuracy")
        assert "Objective 0" not in page.text()
        page.open(f"{plain}/dashboard/studies/{study_id(store, 'tiny')}/trials?numbers=1")
        record = store.studies.get("tiny")
        study = Study.open(loads_sweep(SEARCHED_AND_FIXED, Path("tiny.yaml")), store, record.data_ref(store.root))
        for _ in range(4):
            add_trial(store, study, "complete", [0.3, 0.7])
        page.open(f"{plain}/dashboard/studies/{study_id(store, 'tiny')}/trials?numbers=8")
        page.shows("9 Trials")
        assert NoteWriter(store, settings, "tiny").catch_up() == 4
        page.open(f"{plain}/dashboard/studies/{study_id(store, 'tiny')}/note")
        page.shows("budget: {trials: 20, epochs: 3}")
        page.open(f"{plain}/dashboard/studies/{study_id(store, 'tiny')}/trials?numbers=8")
        page.shows("complete at 70.00 %", "best epoch 2 of 2")


def test_notes_and_pictures(store: Store, address: str) -> None:
    study = json.loads(ask(f"{address}/api/studies/{study_id(store, 'tiny')}"))
    assert "d" * 16 in study["note"]["body"]
    trials = study["trials"][:5]
    assert [sorted(file["filename"] for file in trial["artifacts"]) for trial in trials] == [
        ["learning curves.svg"],
        ["final fit, on test.png", "learning curves.svg"],
        ["learning curves.svg"],
        [],
        ["learning curves.svg"],
    ]
    assert [step["value"] for step in trials[1]["intermediate_values"]] == [0.35, 0.55, 0.6]
    for trial, begin in ((trials[0], b"<svg"), (trials[1], b"\x89PNG")):
        artifact = min(trial["artifacts"], key=lambda file: str(file["filename"]))["artifact_id"]
        place = f"{trial['study_id']}/{trial['trial_id']}/{artifact}"
        assert ask(f"{address}/artifacts/{place}").startswith(begin)


def test_a_user_goes_on_from_the_note(store: Store, settings: Settings, address: str) -> None:
    number = study_id(store, "tiny")
    before = json.loads(ask(f"{address}/api/studies/{number}"))["trials"][0]
    note = {"body": "look again", "version": before["note"]["version"] + 1}
    ask(f"{address}/api/studies/{number}/{before['trial_id']}/note", "PUT", note)
    NoteWriter(store, settings, "tiny").write(0)
    after = json.loads(ask(f"{address}/api/studies/{number}"))["trials"]
    assert after[0]["note"]["body"] == "look again"
    assert after[1]["note"]["body"].startswith("**complete**")


def test_the_command_serves_this_machine_alone_and_ends_on_ctrl_c(store: Store) -> None:
    command = [sys.executable, "-m", "fer_tune", "dashboard", "--study", "tiny", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        assert b"<!DOCTYPE html>" in ask(address)
        listening = [one for one in psutil.Process(process.pid).net_connections() if one.status == psutil.CONN_LISTEN]
        assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=10)
        assert (process.returncode, said) == (0, ("", ""))
    finally:
        process.kill()


def test_a_port_that_is_taken_or_a_study_that_is_not_there(store: Store) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        answer = CliRunner().invoke(app, ["dashboard", "--port", str(other.getsockname()[1])])
    assert answer.exit_code == 2
    assert "cannot be served" in answer.stderr
    assert CliRunner().invoke(app, ["dashboard", "--study", "tony"]).exit_code == 2
