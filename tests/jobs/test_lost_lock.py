"""Tests of a run whose database server loses the lock of its study."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from fer_tune.errors import TakenOverError
from fer_tune.job import EpochRow, Job
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store, StudyLock
from fer_tune.study import Study, trials
from tests.jobs.helpers import INLINE, Notebook
from tests.pool.trainers import obedient
from tests.postgres import NewDatabase
from tests.searches import make_sweep

OF_THIS_RUN = "FROM pg_stat_activity WHERE application_name = %(name)s AND datname = current_database()"
NAME = f"fer-tune {os.getpid()} on {socket.gethostname()}"[:63]


def in_epoch(number: int, epoch: int, act: Callable[[], object]) -> Callable[[Job, EpochRow], None]:
    def on_epoch(spec: Job, row: EpochRow) -> None:
        if (spec.number, row.epoch) == (number, epoch):
            act()

    return on_epoch


def states(of: Settings) -> list[str]:
    with Store.of(of) as store:
        return [trial.state for trial in trials(store, "s")]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bool | Exception]:
    """Returns a list of answers to the next calls of `StudyLock.keep`. Later answers are False."""
    given: list[bool | Exception] = []

    def keep(_: StudyLock) -> bool:
        answer = given.pop(0) if given else False
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(StudyLock, "keep", keep)
    return given


def test_a_lock_that_was_taken_again_is_a_note(settings: Settings, answers: list[bool | Exception]) -> None:
    away = OperationalError("SELECT", None, Exception("the server closed the connection"))
    watch = Notebook(on_epoch=in_epoch(1, 2, lambda: answers.extend([away, True])))
    outcome = run_sweeps([make_sweep(budget=3)], settings, INLINE, watch, obedient)
    assert outcome.studies[0].counts.complete == 3
    assert [note for note in watch.notes if "This run holds it again" in note]


def test_a_study_that_another_run_has_is_left_as_it_is(settings: Settings, answers: list[bool | Exception]) -> None:
    watch = Notebook(on_epoch=in_epoch(1, 2, lambda: answers.append(TakenOverError("s", "fer-tune 7 on there"))))
    with pytest.raises(TakenOverError, match="The study s was taken over by fer-tune 7 on there"):
        run_sweeps([make_sweep(budget=3)], settings, INLINE, watch, obedient)
    assert states(settings) == ["complete", "interrupted"]  # not queued again: the other run does that


@pytest.mark.parametrize("noticed", [True, False], ids=["by the lock", "by a trial that is told"])
def test_a_study_that_another_run_had_meanwhile_is_left_as_it_is(
    noticed: bool,
    settings: Settings,
    answers: list[bool | Exception],
) -> None:
    """The other run has ended and its lock is free again, but the trials have changed."""
    sweep = make_sweep(budget=3)

    def another() -> None:
        with Store.of(settings) as store:
            Study.open(sweep, store, store.studies.get("s").data_ref(settings.root)).reconcile()
        answers.append(noticed)

    with pytest.raises(TakenOverError, match="by another process"):
        run_sweeps([sweep], settings, INLINE, Notebook(on_epoch=in_epoch(1, 2, another)), obedient)
    assert states(settings) == ["complete", "requeued", "waiting"]


# a real server -------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_server(settings: Settings, postgres: NewDatabase) -> Settings:
    return replace(settings, url=postgres())


def ask(of: Settings, query: str) -> list[tuple[object, ...]]:
    import psycopg

    with psycopg.connect(of.url, autocommit=True) as connection:
        return connection.execute(query.encode(), {"name": NAME}).fetchall()


def holders(of: Settings) -> list[tuple[object, ...]]:
    """Returns the server's processes that hold a lock of this run."""
    return ask(of, f"SELECT pid {OF_THIS_RUN} AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')")


def drop(of: Settings) -> None:
    """Lets the server end the connection that holds the lock, as when it restarts."""
    assert len(ask(of, f"SELECT pg_terminate_backend(pid) {OF_THIS_RUN}")) == 1
    while holders(of):
        time.sleep(0.01)


@pytest.mark.slow
def test_a_dropped_lock_is_taken_again(on_server: Settings) -> None:
    held: list[object] = []

    def look(spec: Job, row: EpochRow) -> None:
        held.append(holders(on_server))
        if (spec.number, row.epoch) == (0, 2):
            drop(on_server)

    watch = Notebook(on_epoch=look)
    outcome = run_sweeps([make_sweep(budget=2)], on_server, INLINE, watch, obedient)
    assert outcome.studies[0].counts.complete == 2
    assert [note for note in watch.notes if "This run holds it again" in note]
    assert held[0] == held[1] != held[2] == held[3]
    assert holders(on_server) == []


@pytest.mark.slow
def test_a_dropped_lock_that_another_host_has_taken_ends_the_run(on_server: Settings, tmp_path: Path) -> None:
    there = StudyLock(replace(on_server, root=tmp_path / "there"), on_server.url, "s")
    watch = Notebook(on_epoch=in_epoch(1, 2, lambda: (drop(on_server), there.acquire())))
    with pytest.raises(TakenOverError, match=f"taken over by {NAME}"):  # this process plays the other host
        run_sweeps([make_sweep(budget=3)], on_server, INLINE, watch, obedient)
    there.release()
    assert states(on_server) == ["complete", "interrupted"]
    assert run_sweeps([make_sweep(budget=3)], on_server, INLINE, None, obedient).studies[0].counts.complete == 3


@pytest.mark.slow
def test_a_connection_that_is_broken_only_for_us_keeps_nobody_out(on_server: Settings) -> None:
    """The server has not noticed, and keeps the lock for a connection that we cannot use any
    more."""
    lock = StudyLock(on_server, on_server.url, "s").acquire()
    ours, lock._server._connection = lock._server._connection, Broken()  # type: ignore[assignment]
    before = holders(on_server)
    assert lock.keep()
    assert len(holders(on_server)) == 1
    assert holders(on_server) != before
    assert not lock.keep()
    lock.release()
    assert ours is not None
    ours.invalidate()


class Broken:
    """A connection whose network is gone."""

    def execute(self, *_: object) -> None:
        raise OperationalError("SELECT", None, Exception("the network is gone"))

    def close(self) -> None:
        self.execute()
