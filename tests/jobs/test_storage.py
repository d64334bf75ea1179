"""Tests of a run whose storage does not work for a while.

The disk is full, the database is locked, the folder is read-only, or a transaction fails.
"""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from fer_tune.errors import StorageError
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store
from fer_tune.store.pending import Transaction
from fer_tune.study import trials
from tests.jobs.helpers import INLINE, LOCAL, Notebook, bearing, once, real_sweep, value_of
from tests.pool.trainers import obedient
from tests.searches import make_sweep

HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


@pytest.fixture(autouse=True)
def impatient_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets SQLite answer `locked` soon, so that `Patience` does the waiting.

    The write-ahead log is not emptied meanwhile: its space would take rows when the disk is full.
    """
    monkeypatch.setattr("fer_tune.store.connection.BUSY_SECONDS", 0.1)
    monkeypatch.setattr("fer_tune.store.connection.CHECKPOINT_SECONDS", math.inf)


@pytest.fixture
def disk(tmp_path: Path, settings: Settings) -> Iterator[Path]:
    """Yields the storage folder, on a disk of its own of 12 MB.

    Skips the test if the user may not mount one.
    """
    settings.root.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(settings.root)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield settings.root
    for timer in [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]:
        timer.join()  # a run that needed no space may end before its disk has room again
    subprocess.run(["umount", "-l", str(settings.root)], check=True)


def fill(disk: Path) -> Path:
    """Fills the disk. Returns the file that fills it.

    Before that, it empties the database's `-wal` file, in which there may be room for many rows.
    """
    with closing(sqlite3.connect(disk / "fer_tune.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    balloon = disk / "balloon"
    with balloon.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    return balloon


def later(seconds: float, act: Callable[..., object], *args: object) -> None:
    threading.Timer(seconds, act, args).start()


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def recorded(of: Settings) -> dict[int, list[tuple[int, int]]]:
    """Returns attempt and epoch of all rows, by trial."""
    with Store.of(of) as store:
        found: dict[int, list[tuple[int, int]]] = {}
        numbers = {job.uid: job.number or 0 for job in store.jobs.of("s")}
        for row in store.epochs.all("s"):
            found.setdefault(numbers[row.job], []).append((row.attempt, row.epoch))
        return found


WHOLE = {number: [(0, 1), (0, 2), (0, 3)] for number in range(3)}


@pytest.mark.parametrize("options", [INLINE, LOCAL], ids=["inline", "local"])
def test_a_full_disk_is_waited_for_and_no_row_is_lost(disk: Path, settings: Settings, options: Any) -> None:
    watch = Notebook(on_epoch=once(2, lambda: later(1.0, fill(disk).unlink)))
    outcome = run_sweeps([make_sweep(budget=3)], settings, options, watch, obedient)
    assert (outcome.completed, recorded(settings)) == (3, WHOLE)
    assert any("is full" in note and "Trying again for up to" in note for note in watch.notes), watch.notes
    assert any("can be written again" in note for note in watch.notes)


def test_a_disk_that_stays_full_ends_the_run_and_the_next_one_goes_on(disk: Path, settings: Settings) -> None:
    watch = Notebook(on_epoch=once(2, lambda: fill(disk)))
    began = time.monotonic()
    with pytest.raises(StorageError, match="is full"):
        run_sweeps([bearing(make_sweep(budget=3), storage_patience=0.5)], settings, INLINE, watch, obedient)
    assert time.monotonic() - began < 10
    (disk / "balloon").unlink()
    outcome = run_sweeps([make_sweep(budget=3)], settings, INLINE, None, obedient)
    assert (outcome.completed, outcome.studies[0].counts.finished) == (3, 3)
    check = sqlite3.connect(disk / "fer_tune.db")
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


def test_a_full_disk_costs_a_checkpoint_and_not_the_trial(disk: Path, settings: Settings) -> None:
    """Training continues while the run waits, so the trainer cannot write its checkpoint."""
    watch = Notebook(on_epoch=once(2, lambda: later(2.0, fill(disk).unlink)))
    sweep = bearing(real_sweep(12), checkpoint_interval=0)
    outcome = run_sweeps([sweep], settings, replace(LOCAL, workers=1), watch)
    assert (outcome.completed, watch.lost) == (1, [])
    assert [epoch for epoch, _ in value_of(settings)[1]] == list(range(1, 13))
    with Store.of(settings) as store:
        (attempt,) = store.jobs.attempts("s")
    assert any("no checkpoint" in note and "No space left" in note for note in attempt.notes), attempt.notes


def test_a_locked_database_is_waited_for(settings: Settings) -> None:
    holders: list[subprocess.Popen[str]] = []

    def hold() -> None:
        file = str(settings.root / "fer_tune.db")
        holders.append(subprocess.Popen([sys.executable, "-c", HOLD, file, "1.2"], stdout=subprocess.PIPE, text=True))
        assert holders[0].stdout is not None
        assert holders[0].stdout.readline() == "held\n"

    watch = Notebook(on_epoch=once(2, hold))
    outcome = run_sweeps([make_sweep(budget=3)], settings, LOCAL, watch, obedient)
    assert (outcome.completed, recorded(settings)) == (3, WHOLE)
    assert any("locked by another process" in note for note in watch.notes)
    assert holders[0].communicate(timeout=10) == ("", None)


def test_waiting_for_storage_is_no_hang(disk: Path, settings: Settings) -> None:
    """While the run waits, neither a worker's silence nor a trial's time counts."""
    watch = Notebook(on_epoch=once(2, lambda: later(2.5, fill(disk).unlink)))
    sweep = bearing(make_sweep(budget=2, seconds=0.05), hang_timeout=1.0, trial_timeout=2.0)
    outcome = run_sweeps([sweep], settings, LOCAL, watch, obedient)
    assert (outcome.completed, watch.lost) == (2, [])


@pytest.mark.parametrize("options", [INLINE, LOCAL], ids=["inline", "local"])
def test_a_read_only_folder_is_waited_for(disk: Path, settings: Settings, options: Any) -> None:
    run_sweeps([make_sweep(budget=1)], settings, INLINE, None, obedient)
    remount(disk, "ro")
    later(1.5, remount, disk, "rw")
    watch = Notebook()
    outcome = run_sweeps([make_sweep(budget=3)], settings, options, watch, obedient)
    assert (outcome.completed, recorded(settings)) == (3, WHOLE)
    assert any("Trying again for up to" in note for note in watch.notes), watch.notes


def test_a_folder_that_stays_read_only_is_said(disk: Path, settings: Settings) -> None:
    remount(disk, "ro")
    with pytest.raises(StorageError, match=r"cannot be opened|Read-only"):
        run_sweeps([bearing(make_sweep(), storage_patience=0.3)], settings, INLINE, None, obedient)


def test_no_transaction_is_made_twice_or_left_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction fails once, after its last statement."""
    made = Transaction.__call__
    failed: list[Transaction] = []

    def first_fails(transaction: Transaction) -> None:
        if transaction in failed:
            return made(transaction)
        failed.append(transaction)
        transaction._steps.append(fail)
        try:
            return made(transaction)
        finally:
            transaction._steps.pop()

    def fail(_: object) -> None:
        raise OperationalError("SELECT 1", {}, sqlite3_busy())

    monkeypatch.setattr(Transaction, "__call__", first_fails)
    monkeypatch.setattr("fer_tune.store.retry.PAUSE_SECONDS", 0.001)
    outcome = run_sweeps([make_sweep(budget=3)], settings, INLINE, None, obedient)
    assert (outcome.completed, recorded(settings)) == (3, WHOLE)
    assert len(failed) > 10
    with Store.of(settings) as store:
        assert [trial.state for trial in trials(store, "s")] == ["complete"] * 3
        assert [attempt.status for attempt in store.jobs.attempts("s")] == ["completed"] * 3


def sqlite3_busy() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


def test_stray_checkpoints_are_swept_up_at_the_start(settings: Settings) -> None:
    """Checkpoints of a trial that ended are removed, and half-written ones.

    The checkpoint of an interrupted trial is kept.
    """
    interrupted = Notebook(on_epoch=once(2, lambda: os.kill(os.getpid(), 2)))
    sweep = make_sweep(budget=2)
    run_sweeps([sweep], settings, INLINE, interrupted, obedient)
    with Store.of(settings) as store:
        folder = settings.checkpoint_folder("s", store.studies.get("s").uid)
        (job,) = store.jobs.of("s")
    folder.mkdir(parents=True)
    needed = [f"{job.uid}.safetensors", f"{job.uid}.safetensors.torn"]
    for name in (*needed, "999.safetensors", "999.safetensors.torn", ".998.safetensors.x7"):
        (folder / name).write_bytes(b"left")
    started: list[list[str]] = []
    watch = Notebook(on_epoch=once(1, lambda: started.append(sorted(path.name for path in folder.iterdir()))))
    run_sweeps([sweep], settings, INLINE, watch, obedient)
    assert started == [needed]
    assert any("2 checkpoints that no job needs" in note for note in watch.notes)
    assert [path.name for path in folder.iterdir()] == needed[1:], "the checkpoint of the ended trial was removed"
