"""Tests of worker processes: they die, hang, ignore signals, and have their own environment."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from fer_tune.errors import PoolError
from fer_tune.pool import EndEvent, LocalPool, LostEvent, ReadyEvent, RowEvent, Slot
from fer_tune.pool.devices import cores
from tests.studies import uid_of

from .conftest import MakePool, job, listen, start
from .trainers import sleepy, unwilling


@pytest.fixture
def engine() -> str:
    return "local"


def lost(events: list[object]) -> list[LostEvent]:
    return [event for event in events if isinstance(event, LostEvent)]


def test_a_killed_worker_is_noticed_within_milliseconds_and_replaced(make_pool: MakePool) -> None:
    pool = make_pool(2)
    start(pool)
    running = job(7, epochs=10_000, seconds=0.01)
    pool.submit(Slot(0), running)
    listen(pool, lambda events: any(isinstance(event, RowEvent) for event in events))
    first = pool.workers[0].pid
    assert first is not None
    killed = time.monotonic()
    os.kill(first, signal.SIGKILL)
    (event,) = lost(listen(pool, lost))
    assert time.monotonic() - killed < 0.5
    assert (event.worker, event.jobs) == (0, (running,))
    assert "SIGKILL" in event.reason
    assert "trial 7, attempt 0" in event.log_tail
    assert Slot(0) not in pool.idle()
    listen(pool, lambda events: ReadyEvent(0) in events)
    assert pool.idle() == [Slot(0), Slot(1)]
    assert pool.workers[0].pid != first
    pool.submit(Slot(0), job(8))
    listen(pool, lambda events: any(isinstance(event, EndEvent) and event.end.job == uid_of(8) for event in events))


def test_rows_sent_before_the_death_arrive_before_the_loss(make_pool: MakePool) -> None:
    pool = make_pool()
    start(pool)
    pool.submit(Slot(0), job(epochs=10, die=4))
    time.sleep(0.3)  # the worker is dead before the pool reads
    events = listen(pool, lost)
    assert [event.row.epoch for event in events if isinstance(event, RowEvent)] == [1, 2, 3]
    assert isinstance(events[-1], LostEvent)
    assert "about to die" in events[-1].log_tail


def test_an_idle_worker_that_dies_loses_no_trial(make_pool: MakePool) -> None:
    pool = make_pool()
    start(pool)
    pid = pool.workers[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    pool.submit(Slot(0), job(3))  # the pool has not noticed the death, and raises no error
    (event,) = lost(listen(pool, lost))
    assert [lost.uid for lost in event.jobs] == [uid_of(3)]
    start(pool)


def test_five_deaths_in_a_row_stop_the_run_with_the_reason(make_pool: MakePool) -> None:
    pool = make_pool(1, unwilling)
    events: list[object] = []
    with pytest.raises(PoolError, match="the cpu is on fire") as caught:
        events.extend(event for _ in range(1000) for event in pool.events(1.0))
    assert len(lost(events)) == 5
    assert all("exited with 1" in event.reason for event in lost(events))
    assert "worker0.log" in caught.value.hint


def test_deaths_that_are_far_apart_stop_nothing(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only five deaths within a minute stop the run. Here the deaths are further apart."""
    monkeypatch.setattr("fer_tune.pool.member.DEATHS_WITHIN", 0.0)
    pool = make_pool()
    deaths = 0
    for number in range(7):
        start(pool)
        pool.submit(Slot(0), job(number, die=1))
        deaths += len(lost(listen(pool, lost)))
    assert deaths == 7


def test_workers_that_never_get_ready_are_ended_and_five_stop_the_run(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time between them does not matter: a device that does not start takes minutes."""
    monkeypatch.setattr("fer_tune.pool.member.DEATHS_WITHIN", 0.0)
    monkeypatch.setattr("fer_tune.pool.local.START_SECONDS", 0.2)
    pool = make_pool(1, sleepy)
    events: list[object] = []
    with pytest.raises(PoolError, match="died 5 times in a row"):
        events.extend(event for _ in range(1000) for event in pool.events(0.1))
    assert [event.reason for event in lost(events)] == ["worker 0 was not ready after 0.2 s and was killed"] * 5


def test_a_worker_that_was_ready_in_time_is_left_in_peace(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool did not read meanwhile, so the message of the ready worker is still in the pipe."""
    pool = make_pool()
    assert pool._workers[0].connection.poll(20.0)
    monkeypatch.setattr("fer_tune.pool.local.START_SECONDS", 0.0)
    start(pool)
    pool.submit(Slot(0), job(1, seconds=0.3))
    events = listen(pool, lambda events: any(isinstance(event, EndEvent) for event in events))
    assert not lost(events)


def test_a_process_that_outlives_sigkill_is_given_up(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver can hold such a process. This test sends no signal to the process instead."""
    monkeypatch.setattr("fer_tune.pool.local.KILL_SECONDS", 0.3)
    pool = make_pool()
    start(pool)
    pool.submit(Slot(0), job(7, seconds=60.0))
    held = pool._workers[0].process
    os.kill(held.pid, signal.SIGSTOP)
    monkeypatch.setattr(held, "kill", lambda: None)
    try:
        pool.end_worker(0, "it was silent")
        (event,) = lost(listen(pool, lost))
        assert (event.reason, event.jobs) == ("it was silent", (job(7, seconds=60.0),))
        assert held.poll() is None
        start(pool)
        assert pool.workers[0].pid != held.pid
    finally:
        os.kill(held.pid, signal.SIGKILL)
        held.wait()


def test_a_trial_that_ends_resets_the_count_of_deaths(make_pool: MakePool) -> None:
    pool = make_pool()
    deaths = 0
    for number in range(8):
        start(pool)
        if number == 3:
            pool.submit(Slot(0), job(100))
            listen(pool, lambda events: any(isinstance(event, EndEvent) for event in events))
        if number < 7:
            pool.submit(Slot(0), job(number, die=1))
            deaths += len(lost(listen(pool, lost)))
    assert deaths == 7  # three in a row, then four; only five in a row stop the run


def test_signals_do_not_reach_workers(make_pool: MakePool) -> None:
    pool = make_pool()
    start(pool)
    pid = pool.workers[0].pid
    assert pid is not None
    assert os.getsid(pid) != os.getsid(0)  # so Ctrl-C in a terminal does not reach it either
    pool.submit(Slot(0), job(epochs=20, seconds=0.01))
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)
    events = listen(pool, lambda events: any(isinstance(event, EndEvent) for event in events))
    assert not lost(events)


def test_threads_and_devices_are_set_before_the_first_import(make_pool: MakePool) -> None:
    pool = make_pool(2)
    start(pool)
    pool.submit(Slot(1), job())
    events = listen(pool, lambda events: any(isinstance(event, EndEvent) for event in events))
    fair = str(max(1, cores() // 2))
    assert events[-1].end.notes == ("cpu", fair, fair, "")


def test_closing_leaves_no_process(make_pool: MakePool) -> None:
    pool = make_pool(2)
    start(pool)
    pids = [worker.pid for worker in pool.workers]
    pool.submit(Slot(0), job(epochs=10_000, seconds=0.01, deaf=True))
    began = time.monotonic()
    pool.close(5)
    assert time.monotonic() - began < 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_workers_outlive_no_killed_orchestrator(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from tests_pool.conftest import job, start
        from tests_pool.trainers import obedient
        from fer_tune.pool import LocalPool, Slot

        pool = LocalPool(["cpu", "cpu"], Path(sys.argv[1]), obedient)
        start(pool)
        pool.submit(Slot(0), job(epochs=10_000, seconds=0.05, deaf=True))
        print(*[worker.pid for worker in pool.workers], flush=True)
        time.sleep(60)
        """
    ).replace("tests_pool", __package__ or "")
    search = os.pathsep.join(path for path in sys.path if path)
    orchestrator = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONPATH=search),
    )
    assert orchestrator.stdout is not None
    with orchestrator:
        workers = [psutil.Process(int(word)) for word in orchestrator.stdout.readline().split()]
        assert len(workers) == 2
        orchestrator.kill()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive


def refusal(logs: Path) -> PoolError:
    with pytest.raises(PoolError, match="A worker cannot be started") as caught:
        LocalPool(["cpu"], logs)
    assert "Errno" not in str(caught.value)
    return caught.value


def test_a_folder_that_cannot_hold_logs_is_named(tmp_path: Path) -> None:
    (tmp_path / "storage").write_text("a file")
    error = refusal(tmp_path / "storage" / "logs")
    assert f"{tmp_path / 'storage' / 'logs'} cannot be written" in error.message
    assert "FER_TUNE_DIR" in error.hint


def test_a_python_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    error = refusal(tmp_path / "logs")
    assert f"The program {tmp_path / 'python'} cannot be started (No such file or directory)" in error.message
    assert "install fer-tune again" in error.hint


def test_a_current_folder_that_was_deleted_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for logs in (tmp_path / "logs", Path("logs")):
        error = refusal(logs)
        assert "The current folder was deleted" in error.message
        assert "another folder" in error.hint


def test_a_limit_of_processes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("subprocess.Popen", refuse)
    error = refusal(tmp_path / "logs")
    assert "No more processes can be started (Resource temporarily unavailable)" in error.message
    assert "ulimit" in error.hint
