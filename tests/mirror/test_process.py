"""The mirror's process when the network fails and when it is killed, and `sync` afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil
import pytest

from fer_tune.errors import FerTuneError, SettingsError, StudyError
from fer_tune.mirror import MirrorHandle, Mode, start
from fer_tune.mirror.process import MirrorLock
from fer_tune.mirror.sync import sync
from fer_tune.settings import Settings
from fer_tune.store import Cursor, Store
from tests.mirror.jobs import begin, end, evaluate, train
from tests.mirror.reading import in_database, offline, online
from tests.mirror.server import KEY, Wandb
from tests.studies import uid_of

SILENT = "http://127.0.0.1:9"
"""Nobody listens on the discard port: connections are refused."""


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)


def until(true: Callable[[], object], seconds: float = 40.0) -> None:
    patience = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < patience, "it took too long"
        time.sleep(0.05)


def processes(handle: MirrorHandle, *names: str) -> list[psutil.Process]:
    """Returns the processes of a mirror's session whose command lines contain one of `names`."""
    found = []
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == handle.pid and any(name in " ".join(process.cmdline()) for name in names):
                found.append(process)
    return found


def cursors(store: Store) -> dict[str, Cursor]:
    return store.cursors.of("tiny", "wandb")


def kill(handle: MirrorHandle, *names: str) -> None:
    """Kills processes of a mirror, and waits until they have ended."""
    victims = processes(handle, *names)
    assert victims
    for victim in victims:
        victim.kill()
    until(lambda: not processes(handle, *names))


def assert_no_key(root: Path) -> None:
    for file in root.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes(), f"the key is in {file}"


def assert_all_there(store: Store, server: Wandb) -> None:
    """Every row of every trial is on the server once, and every cursor says so."""
    runs = online(server)
    for number in range(5):
        assert runs[uid_of(number)].rows == in_database(store, uid_of(number))
    assert all(cursor.finished for cursor in cursors(store).values())
    assert server.unknown == []


def test_rows_arrive_while_the_trial_runs_and_once_though_the_mirror_is_killed(
    settings: Settings, store: Store, server: Wandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    job = begin(store, 5)
    run = job.uid
    train(store, job, {1: 0.1})

    handle = start(settings, "tiny", priority="normal")
    until(lambda: run in server.runs and server.runs[run].history)
    assert server.runs[run].state == "running"
    kill(handle, "fer_tune.mirror.copying")  # the mirror starts another one, which continues the run
    train(store, job, {2: 0.2, 3: 0.3})
    until(lambda: cursors(store)[run].epoch == 3)
    kill(handle, "fer_tune.mirror")  # it may have sent these rows, or not
    until(lambda: not processes(handle, "wandb-core"))  # it ends by itself
    assert not handle.stop(0)

    sent = in_database(store, run)
    again = begin(store, 5, attempt=1)  # it continues from a checkpoint of epoch 2
    train(store, again, {3: 0.31, 4: 0.9})
    handle = start(settings, "tiny", priority="normal")
    end(store, again, value=0.9)
    assert handle.stop(timeout=60), handle.log.read_text()
    assert_all_there(store, server)
    told = online(server)[run]
    counted = in_database(store, run)
    assert [row["epoch"] for row in counted] == [1, 2, 3, 4]
    assert [told.rows[0], told.rows[1], told.rows[3]] == [counted[0], counted[1], counted[3]]
    assert told.rows[2] in (sent[2], counted[2])  # wandb cannot replace a row that it has
    assert len(told.rows) == 4
    assert (told.group, told.job_type, told.tags, told.exit_code) == ("tiny", "search", ["simple_cnn", "best"], 0)
    assert told.summary["best_val_accuracy"] == told.summary["objective_value"] == 0.9
    assert server.runs[run].config["_wandb"]["value"]["m"][0]["1"] == "epoch"  # the axis
    assert online(server)[uid_of(1)].tags == ["simple_cnn"]  # it was the best before
    assert list(settings.wandb.glob("run-*")) == []
    assert_no_key(settings.root)


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
    assert cursors(store) == {}
    assert not settings.wandb.exists()  # wandb was not even begun
    assert_no_key(settings.root)


def test_sync_continues_where_a_server_that_broke_in_the_middle_left_it(
    settings: Settings, store: Store, server: Wandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = begin(store, 100, kind="final")
    train(store, fit, {1: float("nan"), 2: float("nan")})
    end(store, fit)
    evaluate(store, settings, fit)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    server.only_in, server.mood_after, server.later = "graphql", 8, "500"  # as the second run is begun
    with pytest.raises(FerTuneError, match=r"did not get everything of tiny: .* HTTP 500") as trouble:
        sync(settings, store, "tiny")
    assert KEY not in str(trouble.value)
    known = cursors(store).values()
    assert 0 < sum(cursor.finished for cursor in known) < 6

    # The mirror might also have been killed between two rows of a trial that was over.
    torn = next(cursor for cursor in known if cursor.finished and len(server.runs[cursor.run].lines) > 2)
    server.runs[torn.run].lines.pop(2)
    server.runs[torn.run].summary, server.runs[torn.run].state = server.runs[torn.run].history[-1], "crashed"
    store.cursors.set(Cursor(torn.job, "wandb", torn.run, 0, 2))

    server.mood, server.mood_after = "well", None
    told: list[int] = []
    assert sync(settings, store, "tiny", told.append).runs == 6
    assert_all_there(store, server)
    final = online(server)[fit.uid]
    assert (final.job_type, len(final.rows), final.exit_code) == ("final", 2, 0)
    assert sorted(final.artifacts) == ["tiny-confusion", "tiny-model"]
    assert all(artifact["state"] == "COMMITTED" for artifact in server.artifacts)
    assert b"weights" * 100 in server.files.values()
    assert_no_key(settings.root)


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_mirror_killed_again_and_again_leaves_each_row_once(
    mode: Mode, settings: Settings, store: Store, server: Wandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    random = Random(0)
    job = begin(store, 5)
    for epoch in range(1, 9):
        handle = start(settings, "tiny", mode, priority="normal")
        train(store, job, {epoch: 0.1 * epoch})
        if epoch == 4:  # let one work a little longer
            until(lambda: cursors(store), 60)
        time.sleep(random.uniform(0.5, 6.0))
        kill(handle, "fer_tune.mirror" if random.random() < 0.5 else "fer_tune.mirror.copying")
        assert handle.stop(0) is False
    end(store, job, value=0.8)
    handle = start(settings, "tiny", mode, priority="normal")
    assert handle.stop(timeout=200), handle.log.read_text()
    runs = offline(settings) if mode == "offline" else online(server)
    assert set(runs) == {job.uid for job in store.jobs.of("tiny")}
    assert all(run.rows == in_database(store, job) for job, run in runs.items())


def test_sync_refuses_what_makes_no_sense(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with MirrorLock(settings, "tiny"), pytest.raises(StudyError, match=f"being mirrored by process {os.getpid()}"):
        sync(settings, store, "tiny")
    with pytest.raises(StudyError, match="There is no study tny"):
        sync(settings, store, "tny")
    with pytest.raises(SettingsError, match="There is no tracker nonesuch"):
        sync(settings, store, "tiny", tracker="nonesuch")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(SettingsError, match="WANDB_MODE"):
        sync(settings, store, "tiny")


def test_two_mirrors_do_not_copy_one_study(settings: Settings, store: Store) -> None:
    with MirrorLock(settings, "tiny"):
        handle = start(settings, "tiny", "offline", priority="normal")
        assert not handle.stop(timeout=30)
    assert "being mirrored" in handle.log.read_text()
    assert cursors(store) == {}


def test_beside_a_sweep_the_mirror_lets_others_go_first(settings: Settings, store: Store) -> None:
    handle = start(settings, "tiny", "offline")
    until(lambda: [process.nice() for process in processes(handle, "fer_tune.mirror")] == [19, 19])
    assert not handle.stop(0)
    until(lambda: not processes(handle, "fer_tune.mirror"))


def test_disabled_starts_nothing(settings: Settings) -> None:
    handle = start(settings, "tiny", "disabled")
    assert not handle.running
    assert handle.stop()
    assert not settings.logs.exists()
