"""Tests of a search whose trials share a device with fewer others, so that some are completed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from fer_tune.job import Job, JobEnd
from fer_tune.jobs.runner import Runner
from fer_tune.pool import EndEvent, Event, Lanes, RowEvent, Slot, WorkerInfo
from fer_tune.settings import Settings
from fer_tune.sources.crowding import Crowding
from fer_tune.sources.workers import RunOptions
from fer_tune.store import Store
from fer_tune.sweep.schema import SearchSpec
from tests.jobs.helpers import run
from tests.pool.trainers import row
from tests.searches import make_sweep

ALONE = 4.0
"""Seconds of an epoch of a trial that has the device for itself."""
LANES = 8


@dataclass
class SlowDevice:
    """A pool of one device, which trains no more in several lanes than in one.

    Attributes:
        running: the jobs by their lanes, with the epochs that are done.
        counts: how many ran at the same time, epoch by epoch.
        now: its time, in seconds, which passes only while it trains.
    """

    running: dict[int, tuple[Job, int]] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)
    now: float = 0.0
    workers: list[WorkerInfo] = field(default_factory=lambda: [WorkerInfo(0, "cuda:0", None, False, LANES)])

    def use_lanes(self, lanes: Lanes, remembered: Path | None = None) -> None:
        pass

    def idle(self) -> list[Slot]:
        return [Slot(0, lane) for lane in range(LANES) if lane not in self.running]

    def submit(self, slot: Slot, job: Job) -> None:
        self.running[slot.lane] = job, 0

    def stop_job(self, slot: Slot, keep: bool = False) -> None:
        self.running[slot.lane] = self.running[slot.lane][0], -1

    def end_worker(self, worker: int, why: str) -> None:
        raise AssertionError(why)

    def events(self, timeout: float) -> list[Event]:
        count = len(self.running)
        self.counts.append(count)
        self.now += ALONE * count or timeout
        found: list[Event] = []
        for lane, (job, done) in list(self.running.items()):
            slot, epoch = Slot(0, lane), done + 1
            if epoch > 0:
                sent = replace(row(job, epoch, job.seed / 100), seconds=ALONE * count, device_seconds=ALONE)
                found.append(RowEvent(slot, sent))
                self.running[lane] = job, epoch
            if epoch in (0, job.last_epoch):
                del self.running[lane]
                status = "stopped" if epoch == 0 else "paused" if job.pauses else "completed"
                found.append(EndEvent(slot, JobEnd(job.uid, job.attempt, status)))
        return found

    def close(self, grace: float = 10) -> None:
        pass


@pytest.fixture
def search(searching: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[Lanes, float], tuple[list[int], int]]:
    """Returns a function that searches with lanes for some seconds.

    It returns how many trials ran at the same time, epoch by epoch, and how many were completed.
    """

    def searched(lanes: Lanes, seconds: float) -> tuple[list[int], int]:
        device = SlowDevice()
        monkeypatch.setattr("fer_tune.sources.run.open_pool", lambda *given, **named: device)
        monkeypatch.setattr("fer_tune.jobs.runner.Runner", partial(Runner, clock=lambda: device.now))
        spec = SearchSpec(strategy="promote", factor=3, rungs=[1, 3])
        sweep = make_sweep(epochs=9, budget=1000, seconds=0.0, search=spec)
        sweep = replace(sweep, budget=sweep.budget.model_copy(update={"hours": seconds / 3600}))
        run(sweep, searching, RunOptions(devices="cpu", wandb="disabled", lanes=lanes))
        with Store.of(searching) as store:
            states = [job.state for job in store.jobs.of("s", "search")]
        return device.counts, states.count("complete")

    return searched


def test_as_many_trials_run_as_leave_time_for_whole_ones() -> None:
    crowding = Crowding(epochs=80)
    assert crowding.most() == math.inf
    for seconds in (6.0, 5.0, 60.0):
        crowding.heard(seconds, running=8, left=300.0)
    assert crowding.most() == 3  # a whole trial takes 60 s alone, and may take 200
    crowding.heard(6.0, running=8, left=10.0)
    assert crowding.most() == 3  # as much time is left as at the start, for this purpose
    slow = Crowding(epochs=80)
    slow.heard(100.0, running=1, left=300.0)
    assert slow.most() == 1


def test_each_device_has_a_trial_and_trials_on_different_devices_do_not_share() -> None:
    crowding = Crowding(epochs=80)
    crowding.devices = 4
    crowding.heard(6.0, running=32, left=300.0)
    assert crowding.most() == 4 * 3
    slow = Crowding(epochs=80)
    slow.devices = 2
    slow.heard(3.0, running=2, left=300.0)  # a whole trial takes 240 s, and two of them no longer
    assert slow.most() == 2


def test_without_a_limit_of_time_all_lanes_are_used() -> None:
    crowding = Crowding(epochs=80)
    crowding.heard(6.0, running=8, left=math.inf)
    assert crowding.most() == math.inf


def test_a_search_with_little_time_uses_fewer_lanes_and_completes_trials(
    search: Callable[[Lanes, float], tuple[list[int], int]],
) -> None:
    counts, complete = search("auto", 200.0)
    assert max(counts[:3]) == LANES  # nothing is known yet
    assert max(counts[5:]) <= 3
    assert complete >= 3


def test_a_number_of_lanes_is_kept(search: Callable[[Lanes, float], tuple[list[int], int]]) -> None:
    counts, _ = search(LANES, 200.0)
    assert max(counts[3:]) == LANES
