"""What every pool must do. Each test runs against each engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fer_tune.data.dataset import Dataset
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.spec import DataRef
from fer_tune.data.splits import reference, store_split
from fer_tune.job import Value
from fer_tune.pool import EndEvent, Event, Lanes, LanesEvent, LostEvent, ReadyEvent, RowEvent, Slot
from fer_tune.pool.port import load_trainer
from fer_tune.settings import Settings
from tests.studies import uid_of

from .conftest import MakePool, job, listen, start, start_lanes


def ended(wanted: int = 1) -> Callable[[list[Event]], bool]:
    return lambda events: sum(isinstance(event, EndEvent) for event in events) >= wanted


def rows(events: list[Event], number: int = 0) -> list[int]:
    return [event.row.epoch for event in events if isinstance(event, RowEvent) and event.row.job == uid_of(number)]


def end(events: list[Event], number: int = 0) -> EndEvent:
    (found,) = [event for event in events if isinstance(event, EndEvent) and event.end.job == uid_of(number)]
    return found


@pytest.fixture
def faces(demo: Dataset, settings: Settings) -> DataRef:
    return reference(demo, store_split(demo, SplitPolicy(), settings), settings)


class TestConformance:
    def test_a_worker_is_idle_only_after_it_is_ready(self, make_pool: MakePool) -> None:
        pool = make_pool(2)
        assert pool.idle() == []
        events = listen(pool, lambda events: len(events) >= 2)
        assert sorted(event.worker for event in events if isinstance(event, ReadyEvent)) == [0, 1]
        assert pool.idle() == [Slot(0), Slot(1)]
        assert [worker.index for worker in pool.workers] == [0, 1]
        assert {worker.device for worker in pool.workers} == {"cpu"}

    def test_a_trial_reports_each_epoch_once_and_then_its_end(self, make_pool: MakePool) -> None:
        pool = make_pool()
        start(pool)
        pool.submit(Slot(0), job(epochs=5))
        assert pool.idle() == []
        events = listen(pool, ended())
        assert rows(events) == [1, 2, 3, 4, 5]
        assert isinstance(events[-1], EndEvent)
        assert (events[-1].slot, events[-1].end.status, events[-1].end.parameters) == (Slot(0), "completed", 7)
        assert pool.idle() == [Slot(0)]

    def test_a_worker_trains_one_trial_after_another(self, make_pool: MakePool) -> None:
        pool = make_pool()
        start(pool)
        pids = [worker.pid for worker in pool.workers]
        for number in range(5):
            pool.submit(Slot(0), job(number))
            events = listen(pool, ended())
            assert rows(events, number) == [1, 2]
            assert end(events, number).end.status == "completed"
        assert [worker.pid for worker in pool.workers] == pids

    def test_workers_train_side_by_side(self, make_pool: MakePool) -> None:
        pool = make_pool(2)
        start(pool)
        pool.submit(Slot(0), job(0, epochs=3, seconds=0.05))
        pool.submit(Slot(1), job(1, epochs=3, seconds=0.05))
        events = listen(pool, ended(2))
        assert rows(events, 0) == rows(events, 1) == [1, 2, 3]
        first_end = next(index for index, event in enumerate(events) if isinstance(event, EndEvent))
        assert {event.row.job for event in events[:first_end] if isinstance(event, RowEvent)} == {uid_of(0), uid_of(1)}

    def test_a_stop_ends_the_running_trial(self, make_pool: MakePool) -> None:
        pool = make_pool()
        start(pool)
        pool.submit(Slot(0), job(epochs=10_000, seconds=0.01))
        listen(pool, rows)
        pool.stop_job(Slot(0))
        events = listen(pool, ended())
        assert end(events).end.status == "stopped"
        assert pool.idle() == [Slot(0)]

    def test_a_stop_leaves_the_other_workers_alone(self, make_pool: MakePool) -> None:
        pool = make_pool(2)
        start(pool)
        pool.submit(Slot(0), job(0, epochs=10_000, seconds=0.01))
        pool.submit(Slot(1), job(1, epochs=5, seconds=0.01))
        pool.stop_job(Slot(0))
        events = listen(pool, ended(2))
        assert end(events, 0).end.status == "stopped"
        assert end(events, 1).end.status == "completed"

    def test_a_late_stop_never_reaches_the_next_trial(self, make_pool: MakePool) -> None:
        pool = make_pool()
        start(pool)
        pool.submit(Slot(0), job(0, epochs=3, deaf=True))
        pool.stop_job(Slot(0))  # the trial ignores it and completes
        events = listen(pool, ended())
        assert end(events).end.status == "completed"
        pool.stop_job(Slot(0))  # the worker is idle now
        pool.submit(Slot(0), job(1, epochs=3))
        assert end(listen(pool, ended()), 1).end.status == "completed"

    def test_no_news_is_an_empty_list(self, make_pool: MakePool) -> None:
        pool = make_pool()
        start(pool)
        assert pool.events(0.01) == []

    def test_closing_ends_a_training_and_can_be_done_twice(self, make_pool: MakePool) -> None:
        pool = make_pool(2)
        start(pool)
        pids = {worker.pid for worker in pool.workers} - {None, os.getpid()}
        pool.submit(Slot(0), job(epochs=10_000, seconds=0.01, deaf=True))
        pool.close(5)
        pool.close(5)
        assert not [pid for pid in pids if psutil.pid_exists(pid)], "a worker outlived its pool"

    def test_it_trains_real_networks(self, make_pool: MakePool, faces: DataRef, tmp_path: Path) -> None:
        pool = make_pool(1, load_trainer)
        params: dict[str, Value] = {"width": 8, "batch_size": 32}
        short = replace(job(0), params=params, data=faces, artifacts=tmp_path / "trial")
        start(pool, 60)
        pool.submit(Slot(0), short)
        events = listen(pool, ended())
        assert rows(events) == [1, 2]
        assert end(events).end.status == "completed", end(events).end
        assert end(events).end.files["val_logits"].exists()
        pool.submit(Slot(0), replace(short, uid=uid_of(1), schedule=10_000, seed=2))
        listen(pool, lambda events: rows(events, 1))
        pool.stop_job(Slot(0))
        assert end(listen(pool, ended()), 1).end.status == "stopped"
        pool.submit(Slot(0), replace(short, uid=uid_of(2), family="none"))
        failed = end(listen(pool, ended()), 2).end
        assert (failed.status, pool.idle()) == ("failed", [Slot(0)])
        assert "none" in failed.reason

    def test_only_an_idle_worker_takes_a_trial(self, make_pool: MakePool) -> None:
        pool = make_pool()
        with pytest.raises(AssertionError, match="idle"):
            pool.submit(Slot(0), job())


class TestLanes:
    """A worker with several lanes trains a job in each."""

    def test_the_first_slot_of_each_worker_comes_first(self, make_pool: MakePool) -> None:
        pool = make_pool(2, lanes=2)
        start_lanes(pool, 2)
        assert pool.idle() == [Slot(0, 0), Slot(1, 0), Slot(0, 1), Slot(1, 1)]
        assert [worker.lanes for worker in pool.workers] == [2, 2]

    def test_jobs_of_one_worker_train_side_by_side(self, make_pool: MakePool) -> None:
        pool = make_pool(lanes=3)
        start_lanes(pool, 3)
        for lane in range(3):
            pool.submit(Slot(0, lane), job(lane, epochs=3, seconds=0.02))
        assert pool.idle() == []
        events = listen(pool, ended(3))
        assert [rows(events, number) for number in range(3)] == [[1, 2, 3]] * 3
        first_end = next(index for index, event in enumerate(events) if isinstance(event, EndEvent))
        before = {event.row.job for event in events[:first_end] if isinstance(event, RowEvent)}
        assert before == {uid_of(number) for number in range(3)}
        assert {event.slot for event in events if isinstance(event, RowEvent) and event.row.job == uid_of(2)} == {
            Slot(0, 2)
        }

    def test_a_lane_that_ends_takes_the_next_job_while_the_others_continue(self, make_pool: MakePool) -> None:
        pool = make_pool(lanes=2)
        start_lanes(pool, 2)
        pool.submit(Slot(0, 0), job(0, epochs=10_000, seconds=0.005))
        for number in range(1, 4):
            pool.submit(Slot(0, 1), job(number, epochs=2))
            events = listen(pool, ended())
            assert end(events, number).slot == Slot(0, 1)
            assert pool.idle() == [Slot(0, 1)]
        assert rows(listen(pool, rows)), "the long job was disturbed"

    def test_a_stop_reaches_one_lane_only(self, make_pool: MakePool) -> None:
        pool = make_pool(lanes=2)
        start_lanes(pool, 2)
        pool.submit(Slot(0, 0), job(0, epochs=5, seconds=0.02))
        pool.submit(Slot(0, 1), job(1, epochs=10_000, seconds=0.01))
        pool.stop_job(Slot(0, 1))
        events = listen(pool, ended(2))
        assert (end(events, 0).end.status, end(events, 1).end.status) == ("completed", "stopped")
        pool.stop_job(Slot(0, 1))  # it is idle now
        pool.submit(Slot(0, 1), job(2))
        assert end(listen(pool, ended()), 2).end.status == "completed"

    def test_an_ended_worker_loses_the_jobs_of_all_its_lanes(self, make_pool: MakePool) -> None:
        pool = make_pool(lanes=3)
        start_lanes(pool, 3)
        jobs = [job(number, epochs=10_000, seconds=0.01) for number in range(2)]
        for lane, one in enumerate(jobs):
            pool.submit(Slot(0, lane), one)
        pool.end_worker(0, "a test")
        events = listen(pool, lambda events: any(isinstance(event, LostEvent) for event in events))
        (lost,) = [event for event in events if isinstance(event, LostEvent)]
        assert (lost.worker, lost.reason) == (0, "a test")
        assert {one.uid for one in lost.jobs} == {one.uid for one in jobs}
        start_lanes(pool, 3)  # its successor has as many lanes

    def test_fewer_lanes_let_running_jobs_end(self, make_pool: MakePool) -> None:
        pool = make_pool(lanes=2)
        start_lanes(pool, 2)
        pool.submit(Slot(0, 0), job(0, epochs=3, seconds=0.02))
        pool.submit(Slot(0, 1), job(1, epochs=3, seconds=0.02))
        pool.use_lanes(1)
        events = listen(pool, ended(2))
        assert [end(events, number).end.status for number in range(2)] == ["completed"] * 2
        listen(pool, lambda _: pool.workers[0].lanes == 1)
        assert len(pool.idle()) == 1

    @pytest.mark.parametrize("fewer", [1, "auto"])
    def test_fewer_lanes_count_before_the_worker_has_answered(self, make_pool: MakePool, fewer: Lanes) -> None:
        pool = make_pool(lanes=3)
        start_lanes(pool, 3)
        pool.use_lanes(fewer)
        assert pool.idle() == [Slot(0)]
        assert listen(pool, bool) == [LanesEvent(0, 1)]
        assert pool.idle() == [Slot(0)]
        pool.use_lanes(2)
        start_lanes(pool, 2)

    def test_auto_is_one_lane_on_a_cpu(self, make_pool: MakePool) -> None:
        pool = make_pool()
        start(pool)
        pool.use_lanes("auto")
        pool.events(0.1)
        assert pool.idle() == [Slot(0)]
