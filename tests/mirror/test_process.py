"""The mirror's process in the network's moods, killed, and left alone; and what `sync` makes of what it left."""

from __future__ import annotations

import os
import signal
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from random import Random
from urllib.parse import quote

import psutil
import pytest

from fer_tune.errors import FerTuneError, SettingsError, StudyError
from fer_tune.mirror import MirrorHandle, Mode, choose_mode, start
from fer_tune.mirror.lock import MirrorLock
from fer_tune.mirror.mode import base_url
from fer_tune.mirror.network import trouble
from fer_tune.mirror.secrets import redact
from fer_tune.mirror.sync import sync
from fer_tune.settings import Settings
from fer_tune.store import Cursor, Store
from fer_tune.study import Study
from tests.mirror.reading import in_database, offline, online
from tests.mirror.server import KEY, Wandb, serving
from tests.studies import epoch_row

SILENT = "http://127.0.0.1:9"
"""Nobody listens on the discard port: connections are refused."""


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)


def until(true: Callable[[], object], seconds: float = 40.0) -> None:
    patience = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < patience, "in vain"
        time.sleep(0.05)


def kill(handle: MirrorHandle) -> None:
    assert handle._process is not None
    handle._process.kill()
    handle._process.wait()
    handle.let_go()  # closes our end of the pipe


def assert_no_key(root: Path) -> None:
    for file in root.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), f"the key lies in {file}"


def assert_all_there(store: Store, server: Wandb) -> None:
    """Every row of every trial is on the server once, and every cursor says so."""
    runs = online(server)
    for number in range(5):
        assert runs[f"{store.studies.get('tiny').uid}-{number:05d}"].rows == in_database(store, "tiny", number)
    assert all(cursor.finished for cursor in store.mirror_cursors("tiny"))
    assert server.unknown == []


def test_rows_arrive_while_the_trial_runs_and_once_though_the_mirror_is_killed(
    settings: Settings, store: Store, study: Study, server: Wandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    number = study.ask().number
    run = f"{store.studies.get('tiny').uid}-{number:05d}"
    store.jobs.start_attempt("tiny", number, 0, 0, "cpu", 0)
    store.epochs.add("tiny", epoch_row(number, 1, 0.1))

    handle = start(settings, "tiny", priority="normal")
    until(lambda: run in server.runs and server.runs[run].history)
    assert server.runs[run].state == "running"
    for epoch in (2, 3):
        store.epochs.add("tiny", epoch_row(number, epoch, 0.1 * epoch))
    until(lambda: (cursor := store.mirror_cursor("tiny", number)) and cursor.epoch == 3)
    kill(handle)  # it may have sent these rows, or not
    core = [p for p in psutil.process_iter(["name"]) if p.info["name"] == "wandb-core" and _belongs(p, handle)]
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in core))

    store.epochs.add("tiny", epoch_row(number, 4, 0.9))
    handle = start(settings, "tiny", priority="normal")
    study.complete(number, 0.9)
    assert handle.stop(timeout=60), handle.log.read_text()
    assert_all_there(store, server)
    told = online(server)[run]
    assert told.rows == in_database(store, "tiny", number)
    assert (told.group, told.job_type, told.tags, told.exit_code) == ("tiny", "trial", ["simple_cnn", "best"], 0)
    assert told.summary["best_val_accuracy"] == told.summary["objective_value"] == 0.9
    assert server.runs[run].config["_wandb"]["value"]["m"][0]["1"] == "epoch"  # the axis
    assert online(server)[f"{store.studies.get('tiny').uid}-00001"].tags == ["simple_cnn"]  # it was the best before
    assert list(settings.wandb.glob("run-*")) == []
    assert_no_key(settings.root)


def _belongs(process: psutil.Process, handle: MirrorHandle) -> bool:
    assert handle._process is not None
    try:
        return os.getsid(process.pid) == handle._process.pid
    except OSError:
        return False


@pytest.mark.parametrize("mood", ["refuses", "hangs", "500"])
def test_no_server_delays_nobody(
    mood: str, settings: Settings, store: Store, server: Wandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.mood = "hang" if mood == "hangs" else "500"
    monkeypatch.setenv("WANDB_BASE_URL", SILENT if mood == "refuses" else server.url)
    handle = start(settings, "tiny", priority="normal")
    until(lambda: "127.0.0.1" in handle.log.read_text())  # it has asked, and says what is wrong
    assert handle.running
    before = time.monotonic()
    assert not handle.stop(timeout=10)
    assert time.monotonic() - before < 5
    assert not handle.running
    assert store.mirror_cursors("tiny") == []
    assert not settings.wandb.exists()  # wandb was not even begun
    assert_no_key(settings.root)


def test_sync_goes_on_where_a_server_that_broke_in_the_middle_left_it(
    settings: Settings, store: Store, server: Wandb, retrained: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    retrained()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    server.only_in, server.mood_after, server.later = "graphql", 8, "500"  # as the second run is begun
    with pytest.raises(FerTuneError, match=r"did not get everything of tiny: .* HTTP 500") as trouble:
        sync(settings, store, "tiny")
    assert KEY not in str(trouble.value)
    cursors = store.mirror_cursors("tiny")
    assert 0 < sum(cursor.finished for cursor in cursors) < 6

    # The mirror might also have been killed between two rows of a trial that was over.
    torn = next(cursor for cursor in cursors if cursor.finished and len(server.runs[cursor.run].lines) > 2)
    server.runs[torn.run].lines.pop(2)
    server.runs[torn.run].summary, server.runs[torn.run].state = server.runs[torn.run].history[-1], "crashed"
    store.set_mirror_cursor("tiny", Cursor(torn.number, torn.run, 0, 2))

    server.mood, server.mood_after = "well", None
    told: list[int] = []
    assert sync(settings, store, "tiny", told.append).runs == 6
    assert_all_there(store, server)
    final = online(server)[f"{store.studies.get('tiny').uid}-retrain-001"]
    assert (final.job_type, len(final.rows), final.exit_code) == ("retrain", 2, 0)
    assert sorted(final.artifacts) == ["tiny-confusion", "tiny-model"]
    assert all(artifact["state"] == "COMMITTED" for artifact in server.artifacts)
    assert b"weights" * 100 in server.files.values()
    assert_no_key(settings.root)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_mirror_killed_again_and_again_leaves_each_row_once(  # noqa: PLR0917 - fixtures
    mode: Mode, settings: Settings, store: Store, study: Study, server: Wandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    random = Random(0)
    number = study.ask().number
    store.jobs.start_attempt("tiny", number, 0, 0, "cpu", 0)
    for epoch in range(1, 9):
        handle = start(settings, "tiny", mode, priority="normal")
        store.epochs.add("tiny", epoch_row(number, epoch, 0.1 * epoch))
        if epoch == 4:  # let one work a little longer
            until(lambda: store.mirror_cursors("tiny"), 60)
        time.sleep(random.uniform(0.5, 6.0))
        kill(handle)
    study.complete(number, 0.8)
    handle = start(settings, "tiny", mode, priority="normal")
    assert handle.stop(timeout=200), handle.log.read_text()
    runs = offline(settings) if mode == "offline" else online(server)
    for trial in range(number + 1):
        assert runs[f"{store.studies.get('tiny').uid}-{trial:05d}"].rows == in_database(store, "tiny", trial)


def test_sync_refuses_what_makes_no_sense(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with MirrorLock(settings, "tiny"), pytest.raises(StudyError, match=f"being mirrored by process {os.getpid()}"):
        sync(settings, store, "tiny")
    with pytest.raises(StudyError, match="There is no study tny"):
        sync(settings, store, "tny")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(SettingsError, match="WANDB_MODE"):
        sync(settings, store, "tiny")


def test_two_mirrors_do_not_copy_one_study(settings: Settings, store: Store) -> None:
    with MirrorLock(settings, "tiny"):
        handle = start(settings, "tiny", "offline", priority="normal")
        assert not handle.stop(timeout=30)
    assert "being mirrored" in handle.log.read_text()
    assert store.mirror_cursors("tiny") == []


def test_beside_a_sweep_the_mirror_lets_others_go_first(settings: Settings, store: Store) -> None:
    monitor = start(settings, "tiny", "offline")
    assert monitor._process is not None
    process = psutil.Process(monitor._process.pid)
    until(lambda: process.nice() == 19)
    os.killpg(process.pid, signal.SIGKILL)
    monitor.stop()


def test_disabled_starts_nothing(settings: Settings) -> None:
    handle = start(settings, "tiny", "disabled")
    assert not handle.running
    assert handle.stop()
    assert not settings.logs.exists()


def test_the_mode_follows_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    assert choose_mode() == "offline"
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.wandb.ai login user password " + "s" * 40)
    monkeypatch.setenv("NETRC", str(netrc))
    assert choose_mode() == "online"
    assert redact("key " + "s" * 40) == "key ***"
    header = b64encode(b"api:" + b"s" * 40).decode()
    for form in (header, header.rstrip("="), quote(header), quote(header).lower()):
        assert redact(f"Basic {form}") == "Basic ***"
    monkeypatch.setenv("WANDB_API_KEY", "local-a/b+c?=" + "s" * 30)
    for form in ("local-a%2Fb%2Bc%3F%3D", "local-a%2fb%2bc%3f%3d"):
        assert redact(f"?key={form}{'s' * 30}&x") == "?key=***&x"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert choose_mode() == "disabled"
    assert choose_mode("offline") == "offline"


def test_the_server_is_found_where_wandb_login_left_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert base_url() == "https://api.wandb.ai"
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    (tmp_path / "settings").write_text("[default]\nbase_url = https://wandb.example\n")
    assert base_url() == "https://wandb.example"
    monkeypatch.setenv("WANDB_BASE_URL", SILENT)
    assert base_url() == SILENT
    assert "cannot be reached" in trouble()


def test_a_server_that_refuses_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert trouble() == ""
        server.mood = "500"
        assert "answers 500" in trouble()
        server.mood = "hang"
        assert "cannot be reached" in trouble(timeout=0.2)
