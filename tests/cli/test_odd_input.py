"""Commands with a slip of the finger or an empty variable, or where something is missing."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fer_tune.cli.app import app
from fer_tune.mirror.wandb_tracker.environment import base_url, choose_mode
from fer_tune.settings import Settings
from tests.studies import SWEEP, make_study


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study, sweeps and things that are not files. No test changes it."""
    place = tmp_path_factory.mktemp("odd")
    root = place / "storage"
    make_study(Settings(root, f"sqlite:///{root.as_posix()}/fer_tune.db")).close()
    (place / "folder").mkdir()
    os.mkfifo(place / "pipe")
    (place / "link").symlink_to(place / "good.yaml")  # as /dev/stdout is one
    contents: dict[str, bytes] = {
        "good.yaml": SWEEP.encode(),
        "empty.yaml": b"",
        "latin.yaml": "study: café".encode("latin-1"),
        "outside.yaml": SWEEP.replace("study: tiny", "study: ../tiny").encode(),
        "family.yaml": SWEEP.replace("simple_cnn", "simple_cmm").encode(),
        "text": b"I am no database\n" * 100,
        "no.png": b"\x89PNG\r\n",
    }
    for name, content in contents.items():
        (place / name).write_bytes(content)
    return place


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(place)
    monkeypatch.setenv("FER_TUNE_DIR", str(place / "storage"))
    monkeypatch.setenv("COLUMNS", "300")
    before = sorted(place.iterdir())
    yield place
    assert sorted(place.iterdir()) == before, "a command that is refused leaves nothing"


LONG = "a" * 5000

REFUSED = {
    "check missing.yaml": "this file does not exist",
    "check folder": "this folder has no sweep",
    "check empty.yaml": "not nothing",
    "check latin.yaml": "not UTF-8",
    "check outside.yaml": "'../tiny' is not a valid study name",
    "check family.yaml": "nearest: simple_cnn",
    f"check {LONG}": "this file does not exist",
    f"run {LONG}": "this file does not exist",
    "run good.yaml --workers 99999999999": "between 1 and 1024",
    "run good.yaml --set budget.trials=-5": "must be at least 1, not -5",
    "run good.yaml --data=": "data",
    "run good.yaml --engine inline --storage sqlite:///text": "not an SQLite database",
    "run good.yaml --engine inline --storage sqlite:///folder": "is not a regular file",
    "best --storage sqlite:///text": "not an SQLite database",
    "best --storage mysql://me@127.0.0.1/x": "driver MySQLdb is not installed",
    "best --study ../tiny": "There is no study ../tiny",
    "best --study=": "There is no study ''",
    "trials --parquet pipe": "is not a regular file",
    "report --studies=": "There is no study ''",
    "report --out folder": "is not a regular file",
    "report --out pipe": "is not a regular file",
    "report --out link": "is not a regular file",
    "report --out text/report.html": "Choose a folder that can be written",
    "dashboard --port 0 --host=": "--host must be an address",
    "dashboard --port 0 --host 203.0.113.1": "an address of this machine",
    f"dashboard --port 0 --host {'é' * 100}": "is not a valid host name",
    "retrain --trial -1": "has no trial -1",
    "retrain --devices tpu": "--devices must be cpu, cuda, auto, or a list such as cuda:0,cuda:1 (got tpu)",
    "retrain --devices cuda:99": "cuda:99 does not exist",
    "data folder": "no images and no CSV",
    "data=": "name is empty",
    "data ~no.such.user/faces": "No such file",
    "predict folder no.png": "folder is not a model folder",
    "init ../resnet": "'../resnet' is not a family; nearest: resnet",
}


def call(words: str) -> Result:
    """`name=` is a word and an empty one."""
    given = [part for word in words.split() for part in (word.split("=") if word.endswith("=") else [word])]
    return CliRunner().invoke(app, given)


@pytest.mark.parametrize("words", REFUSED, ids=lambda words: words[:40])
def test_what_makes_no_sense_is_refused(words: str, here: Path) -> None:
    answer = call(words)
    assert isinstance(answer.exception, SystemExit), answer.exception
    assert answer.exit_code == 2
    assert REFUSED[words] in answer.stderr
    assert "0x" not in answer.stderr


def test_a_pipe_stays_a_pipe(here: Path) -> None:
    """So do a device and a link: root could replace `/dev/null` or `/dev/stdout` by a file."""
    for name in ("pipe", "link"):
        assert call(f"report --out {name}").exit_code == 2
    assert stat.S_ISFIFO((here / "pipe").stat().st_mode)
    assert (here / "link").is_symlink()


def test_a_failed_retrain_blames_the_learning_rate_only_for_divergence(here: Path) -> None:
    answer = call("retrain --set depth=3")
    assert (answer.exit_code, "learning rate" in answer.stderr) == (2, False)


def test_a_study_is_reported_once(here: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.md", tmp_path / "twice.md"
    assert call(f"report --format md --studies tiny --out {once}").exit_code == 0
    assert call(f"report --format md --studies tiny,tiny --out {twice}").exit_code == 0
    assert once.read_text() == twice.read_text()


def test_twenty_columns(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    for words in ("trials", "studies", "watch --once"):
        answer = call(words)
        assert answer.exit_code == 0
        assert max(map(len, answer.stdout.splitlines())) <= 20


def shell(line: str) -> subprocess.CompletedProcess[str]:
    command = line.replace("fer-tune", f"{sys.executable} -m fer_tune")
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)


def test_an_output_that_is_closed_and_no_home(here: Path) -> None:
    done = shell("fer-tune trials | true; env -u HOME fer-tune trials --csv >&-")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_a_current_folder_that_was_deleted(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FER_TUNE_DIR")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for words in ("best", "run demo --engine inline"):
        shown = call(words)
        assert shown.exit_code == 2
        assert "The current folder was deleted." in shown.stderr


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user has a number and no name."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    for name in ("HOME", "NETRC", "WANDB_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert choose_mode() == "offline"
    assert base_url() == "https://api.wandb.ai"


def test_ctrl_c_is_no_failure(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_tune.study.trials", lambda *_: signal.raise_signal(signal.SIGINT))
    assert call("trials").exit_code == 130


@pytest.mark.parametrize("name", ["x" * 3000, "/".join(["y" * 200] * 15)])
@pytest.mark.parametrize("words", [["run", "demo", "--engine", "inline"], ["best"], ["backup"]], ids=str)
def test_a_path_that_is_too_long_is_not_waited_for(
    words: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_TUNE_DIR", str(tmp_path / name))
    began = time.monotonic()
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.output
    assert time.monotonic() - began < 20
