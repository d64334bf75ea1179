"""The real dashboard, asked over HTTP: notes, pictures, and an end without noise."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from fer_tune.cli.app import app
from fer_tune.cli.dashboard import _server
from fer_tune.report.dashboard import application, study_id
from fer_tune.settings import Settings
from fer_tune.store import Store
from tests.studies import make_study


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with make_study(settings) as store:
        confusion = settings.artifacts / "tiny" / "confusion.png"
        confusion.parent.mkdir(parents=True)
        Image.new("L", (8, 8)).save(confusion)
        store.add_artifact("tiny", 1, "retrain confusion_png", confusion)
        yield store


@pytest.fixture
def address(store: Store, settings: Settings) -> Iterator[str]:
    with _server("127.0.0.1", 0, application(store, settings)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(url: str, method: str = "GET", body: Any = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return bytes(answer.read())


def test_notes_and_pictures(store: Store, address: str) -> None:
    study = json.loads(ask(f"{address}/api/studies/{study_id(store, 'tiny')}"))
    assert "budget: {trials: 20, epochs: 3}" in study["note"]["body"]
    assert "d" * 16 in study["note"]["body"]
    trials = study["trials"]
    assert [[file["filename"] for file in trial["artifacts"]] for trial in trials] == [
        ["learning curves.png", "confusion matrix.png"] if number == 1 else ["learning curves.png"]
        for number in range(5)
    ]
    assert "**complete** at 60.00%, best epoch 3 of 3" in trials[1]["note"]["body"]
    assert "Reason: `RuntimeError: made to fail`" in trials[3]["note"]["body"]
    assert [step["value"] for step in trials[1]["intermediate_values"]] == [0.35, 0.55, 0.6]
    for trial, file, side in ((trials[1], 0, 500), (trials[1], 1, 8), (trials[3], 0, 500)):
        place = f"{study['trials'][0]['study_id']}/{trial['trial_id']}/{trial['artifacts'][file]['artifact_id']}"
        with Image.open(BytesIO(ask(f"{address}/artifacts/{place}"))) as image:
            assert image.width >= side


def test_what_a_user_writes_goes_first_and_nothing_else_is_written(store: Store, address: str) -> None:
    number = study_id(store, "tiny")
    [before] = [json.loads(ask(f"{address}/api/studies/{number}"))["trials"][0]]
    rows = "SELECT count(*) FROM study_system_attributes"
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql(rows).scalar() == 0
    note = {"body": "look again", "version": before["note"]["version"] + 1}
    ask(f"{address}/api/studies/{number}/{before['trial_id']}/note", "PUT", note)
    after = json.loads(ask(f"{address}/api/studies/{number}"))["trials"]
    assert after[0]["note"]["body"] == "look again"
    assert after[1]["note"]["body"].startswith("**complete**")


def test_the_command_serves_and_ends_on_ctrl_c(store: Store) -> None:
    command = [sys.executable, "-m", "fer_tune", "dashboard", "--study", "tiny", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        assert b"<!DOCTYPE html>" in ask(address)
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
