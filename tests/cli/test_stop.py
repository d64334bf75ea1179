"""`fer-tune stop` signals the process that runs the study, and no other."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from fer_tune.cli.app import app
from fer_tune.errors import StudyError
from fer_tune.settings import Settings
from fer_tune.store import ConfirmLock, StudyLock
from tests.studies import make_study


@pytest.fixture
def lock(settings: Settings) -> Iterator[StudyLock]:
    make_study(settings, ()).close()
    with StudyLock(settings, settings.url, "tiny") as lock:
        yield lock


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def stop() -> Result:
    return CliRunner().invoke(app, ["stop"])


def test_the_holder_is_asked_to_end(lock: StudyLock, signals: list[tuple[int, int]]) -> None:
    answer = stop()
    assert answer.exit_code == 0, answer.output
    assert signals == [(os.getpid(), signal.SIGTERM)]
    assert f"tiny: process {os.getpid()} was asked to end" in answer.stderr


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"host": "gpu-7"}, "on gpu-7, not on this host"),
        ({"process_started": 1.0}, "not visible from here"),
        ({"pid": 2**22 + 1}, "not visible from here"),
    ],
)
def test_a_stranger_is_not_signalled(
    lock: StudyLock, signals: list[tuple[int, int]], changed: dict[str, object], words: str
) -> None:
    lock.path.write_text(json.dumps(json.loads(lock.path.read_text()) | changed))
    answer = stop()
    assert answer.exit_code == 2
    assert signals == []
    assert words in answer.stderr
    assert "hint: " in answer.stderr


def test_a_confirmation_is_asked_to_end(settings: Settings, signals: list[tuple[int, int]]) -> None:
    make_study(settings, ()).close()
    with ConfirmLock(settings, settings.url, "tiny"):
        assert stop().exit_code == 0
        with pytest.raises(StudyError, match="Trials of the study tiny are being confirmed by process") as caught:
            ConfirmLock(settings, settings.url, "tiny").acquire()
    assert signals == [(os.getpid(), signal.SIGTERM)]
    assert caught.value.hint == "Wait for it, or stop it with `fer-tune stop --study tiny`."


def test_nothing_to_stop(settings: Settings, signals: list[tuple[int, int]]) -> None:
    make_study(settings, ()).close()
    assert "The study tiny is not being run" in stop().stderr
    assert signals == []
