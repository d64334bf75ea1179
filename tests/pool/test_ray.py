"""Tests of workers on a real Ray cluster: they die, hang, and move files."""

from __future__ import annotations

import importlib
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from fer_tune.data.dataset import Dataset
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.splits import reference, store_split
from fer_tune.errors import PoolError
from fer_tune.job import EpochRow, Job
from fer_tune.pool import EndEvent, LostEvent, Pool, ReadyEvent, RowEvent, Slot, ray_pool, ray_worker
from fer_tune.pool.port import load_trainer
from fer_tune.settings import Settings
from tests.studies import uid_of

from .conftest import MakePool, job, listen, start
from .trainers import unwilling

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(ray_cluster: object) -> str:
    return "ray"


def lost(events: list[Any]) -> list[LostEvent]:
    return [event for event in events if isinstance(event, LostEvent)]


def ended(events: list[Any]) -> list[EndEvent]:
    return [event for event in events if isinstance(event, EndEvent)]


def rows(events: list[Any], number: int = 0) -> list[EpochRow]:
    return [event.row for event in events if isinstance(event, RowEvent) and event.row.job == uid_of(number)]


def pid_of(pool: Pool, worker: int = 0) -> int:
    pid = pool.workers[worker].pid
    assert pid is not None
    return pid


def host_of(pool: Pool, worker: int = 0) -> psutil.Process:
    """Returns the process of a worker's actor."""
    parent = psutil.Process(pid_of(pool, worker)).parent()
    assert parent is not None
    assert "Host" in parent.name() or any("Host" in word for word in parent.cmdline())
    return parent


def test_a_killed_worker_is_noticed_and_replaced(make_pool: MakePool) -> None:
    pool = make_pool(2)
    start(pool)
    running = job(7, epochs=10_000, seconds=0.01)
    pool.submit(Slot(0), running)
    listen(pool, lambda events: rows(events, 7))
    first = pid_of(pool)
    os.kill(first, signal.SIGKILL)
    killed = time.monotonic()
    (event,) = lost(listen(pool, lost))
    assert time.monotonic() - killed < 1.0
    assert (event.worker, event.jobs) == (0, (running,))
    assert "SIGKILL" in event.reason
    assert "trial 7, attempt 0" in event.log_tail
    listen(pool, lambda events: ReadyEvent(0) in events)
    assert pid_of(pool) != first
    pool.submit(Slot(0), job(8))
    listen(pool, ended)


def test_a_killed_actor_takes_its_worker_along(make_pool: MakePool) -> None:
    pool = make_pool()
    start(pool)
    running = job(7, epochs=10_000, seconds=0.01, deaf=True)
    pool.submit(Slot(0), running)
    listen(pool, lambda events: rows(events, 7))
    worker = psutil.Process(pid_of(pool))
    host_of(pool).kill()
    (event,) = lost(listen(pool, lost))
    assert event.jobs == (running,)
    assert "died" in event.reason
    psutil.wait_procs([worker], timeout=5)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    start(pool)


def test_rows_sent_before_the_death_arrive_before_the_loss(make_pool: MakePool) -> None:
    pool = make_pool()
    start(pool)
    pool.submit(Slot(0), job(epochs=10, die=4))
    events = listen(pool, lost)
    assert [row.epoch for row in rows(events)] == [1, 2, 3]
    assert isinstance(events[-1], LostEvent)
    assert "about to die" in events[-1].log_tail


def test_a_worker_that_hangs_can_be_ended(make_pool: MakePool) -> None:
    """A stopped process cannot notice that its pipe closes."""
    pool = make_pool()
    start(pool)
    pool.submit(Slot(0), job(epochs=10_000, seconds=0.01))
    listen(pool, rows)
    worker = psutil.Process(pid_of(pool))
    worker.suspend()
    pool.end_worker(0, "it was silent")
    (event,) = lost(listen(pool, lost))
    assert event.reason == "it was silent"
    psutil.wait_procs([worker], timeout=5)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    start(pool)


def test_a_host_that_hangs_is_given_up(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_worker, "END_SECONDS", 0.5)
    pool = make_pool()
    start(pool)
    pool.submit(Slot(0), job(epochs=10_000, seconds=0.01))
    host = host_of(pool)
    host.suspend()
    try:
        pool.end_worker(0, "it was silent")
        (event,) = lost(listen(pool, lost))
        assert event.reason == "it was silent"
    finally:
        host.kill()
    start(pool)


def test_five_deaths_in_a_row_stop_the_run_with_the_reason(make_pool: MakePool) -> None:
    pool = make_pool(1, unwilling)
    events: list[object] = []
    with pytest.raises(PoolError, match="the cpu is on fire") as caught:
        events.extend(event for _ in range(1000) for event in pool.events(1.0))
    assert len(lost(events)) == 5
    assert "Every node needs fer-tune" in caught.value.hint


def test_a_node_that_lacks_a_module_says_which(
    make_pool: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "only_here.py"
    module.write_text("def trainer(device, threads):\n    raise AssertionError\n")
    monkeypatch.syspath_prepend(tmp_path)
    trainer = importlib.import_module("only_here").trainer
    module.unlink()
    pool = make_pool(1, trainer)
    with pytest.raises(PoolError, match="No module named 'only_here'") as caught:
        list(iter(lambda: pool.events(1.0), None))
    assert "Every node needs fer-tune" in caught.value.hint


def test_a_worker_without_a_place_waits_for_one(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool(5)
    listen(pool, lambda events: sum(isinstance(event, ReadyEvent) for event in events) == 4, 60)
    listen(pool, lambda _: not pool.events(0.1))
    (waiting,) = [worker.index for worker in pool.workers if worker.pid is None]
    assert waiting not in {slot.worker for slot in pool.idle()}
    pool.close()
    monkeypatch.setattr(ray_pool, "PLACE_SECONDS", -1.0)
    with pytest.raises(PoolError, match="no room for a worker") as caught:
        make_pool(1).events(0.0)
    assert "Each worker needs 1 CPU" in caught.value.hint


class TestStorage:
    """Jobs on nodes that do not share the orchestrator's storage."""

    @pytest.fixture(autouse=True)
    def _not_shared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FER_TUNE_SHARED", "0")

    @pytest.fixture
    def trial(self, demo: Dataset, settings: Settings, tmp_path: Path) -> Job:
        data = reference(demo, store_split(demo, SplitPolicy(), settings), settings)
        return replace(
            job(0, epochs=3, width=8, batch_size=32),
            data=data,
            artifacts=tmp_path / "trial",
            checkpoint=tmp_path / "checkpoints" / "trial.safetensors",
            checkpoint_seconds=0.0,
        )

    def test_what_a_job_leaves_is_fetched(self, make_pool: MakePool, trial: Job) -> None:
        pool = make_pool(1, load_trainer)
        start(pool, 60)
        pool.submit(Slot(0), trial)
        (end,) = ended(listen(pool, ended, 60))
        assert end.end.status == "completed", end.end
        assert trial.artifacts is not None
        assert end.end.files == {"val_logits": trial.artifacts / "val_logits.npy"}
        assert end.end.files["val_logits"].stat().st_size > 0

    def test_a_job_continues_on_another_worker_from_its_checkpoint(self, make_pool: MakePool, trial: Job) -> None:
        pool = make_pool(2, load_trainer)
        start(pool, 60)
        long = replace(trial, schedule=2000)
        pool.submit(Slot(0), long)
        assert long.checkpoint is not None
        checkpoint = long.checkpoint
        before = listen(pool, lambda events: len(rows(events)) >= 3 and checkpoint.exists(), 60)
        host_of(pool).kill()
        before += listen(pool, lost)
        again = replace(long, attempt=1)
        pool.submit(Slot(1), again)
        after = rows(listen(pool, lambda events: len(rows(events)) >= 3, 60))
        seconds = {row.epoch: row.seconds for row in rows(before)}
        assert after[0].seconds == seconds[1], "the first epoch was trained again"
        pool.stop_job(Slot(1), keep=True)
        (end,) = ended(listen(pool, ended, 60))
        assert end.end.status == "stopped"
        assert checkpoint.exists()

    def test_a_job_whose_files_are_lost_with_their_node_is_lost_too(
        self, make_pool: MakePool, trial: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def gone(*_: object) -> None:
            raise RuntimeError("the owner of the object has died")

        pool = make_pool(1, load_trainer)
        start(pool, 60)
        monkeypatch.setattr(ray_worker.RayWorker, "_fetch", gone)
        pool.submit(Slot(0), trial)
        (event,) = lost(listen(pool, lost, 60))
        assert event.jobs == (trial,)
        assert "val_logits.npy did not arrive: RuntimeError: the owner" in event.reason

    def test_a_file_that_cannot_be_written_fails_the_job(self, make_pool: MakePool, trial: Job) -> None:
        assert trial.artifacts is not None
        trial.artifacts.write_text("a file")
        pool = make_pool(1, load_trainer)
        start(pool, 60)
        pool.submit(Slot(0), trial)
        (end,) = ended(listen(pool, ended, 60))
        assert (end.end.status, end.end.files) == ("failed", {})
        assert "val_logits.npy did not arrive: cannot write" in end.end.reason
