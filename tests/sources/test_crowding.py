"""Tests of a search whose trials share a device with fewer others, so that some are completed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from fer_tune.data.spec import DataRef
from fer_tune.job import Job, JobEnd
from fer_tune.jobs.runner import Runner
from fer_tune.pool import EndEvent, Event, Lanes, RowEvent, Slot, WorkerInfo
from fer_tune.settings import Settings
from fer_tune.sources.crowding import Crowding
from fer_tune.sources.workers import RunOptions
from fer_tune.store import Store
from fer_tune.sweep.schema import SearchSpec
from tests.jobs.helpers import INLINE, run
from tests.pool.trainers import row
from tests.searches import make_sweep

ALONE = 4.0
"""Seconds of an epoch of a trial that has the device for itself."""
LANES = 8
WHOLE = Job("whole", "s", "search", "tiny", {}, 80, 0, DataRef(Path("cache"), "s", Path("split"), "h"))
PAUSING = replace(WHOLE, uid="pausing", until=70)


@dataclass
class SlowDevice:
    """A pool of devices, of which none trains more in several lanes than in one.

    Args:
        slow: an epoch of every third trial takes so many times as long.
        devices: how many there are. All are as slow as the one with the most jobs.

    Attributes:
        running: the jobs by their slots, with the epochs that are done.
        counts: how many ran at the same time, epoch by epoch.
        empty: how often a device had no job while another one had several.
        now: its time, in seconds, which passes only while it trains.
    """

    slow: int = 1
    devices: int = 1
    running: dict[Slot, tuple[Job, int]] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)
    empty: int = 0
    now: float = 0.0

    @property
    def workers(self) -> list[WorkerInfo]:
        return [WorkerInfo(place, f"cuda:{place}", None, False, LANES) for place in range(self.devices)]

    def use_lanes(self, lanes: Lanes, remembered: Path | None = None) -> None:
        pass

    def idle(self) -> list[Slot]:
        every = [Slot(device, lane) for lane in range(LANES) for device in range(self.devices)]
        return [slot for slot in every if slot not in self.running]

    def submit(self, slot: Slot, job: Job) -> None:
        self.running[slot] = job, 0

    def stop_job(self, slot: Slot, keep: bool = False) -> None:
        self.running[slot] = self.running[slot][0], -1

    def end_worker(self, worker: int, why: str) -> None:
        raise AssertionError(why)

    def events(self, timeout: float) -> list[Event]:
        each = [sum(slot.worker == device for slot in self.running) for device in range(self.devices)]
        count = max(each)
        self.counts.append(sum(each))
        self.empty += not min(each) and count > 1
        self.now += ALONE * count or timeout
        found: list[Event] = []
        for slot, (job, done) in list(self.running.items()):
            times, stopped = self._times(job), done < 0
            turns = 0 if stopped else done + 1
            epoch = turns // times
            if turns and turns % times == 0:
                seconds = ALONE * times
                sent = replace(row(job, epoch, job.seed / 100), seconds=seconds * count, device_seconds=seconds)
                found.append(RowEvent(slot, sent))
            self.running[slot] = job, turns
            if stopped or turns == job.last_epoch * times:
                del self.running[slot]
                status = "stopped" if stopped else "paused" if job.pauses else "completed"
                found.append(EndEvent(slot, JobEnd(job.uid, job.attempt, status)))
        return found

    def close(self, grace: float = 10) -> None:
        pass

    def _times(self, job: Job) -> int:
        return self.slow if (job.number or 0) % 3 == 2 else 1


@pytest.fixture
def search(searching: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[SlowDevice, int]]:
    """Returns a function that searches with lanes for some seconds, on a `SlowDevice`.

    It returns the device, and how many trials were completed.
    """

    def searched(lanes: Lanes, seconds: float, slow: int = 1, devices: int = 1) -> tuple[SlowDevice, int]:
        device = SlowDevice(slow, devices)
        monkeypatch.setattr("fer_tune.sources.run.open_pool", lambda *given, **named: device)
        monkeypatch.setattr("fer_tune.jobs.runner.Runner", partial(Runner, clock=lambda: device.now))
        spec = SearchSpec(strategy="promote", factor=3, rungs=[1, 3])
        sweep = make_sweep(epochs=9, budget=1000, seconds=0.0, search=spec)
        sweep = replace(sweep, budget=sweep.budget.model_copy(update={"hours": seconds / 3600}))
        run(sweep, searching, RunOptions(devices="cpu", wandb="disabled", lanes=lanes))
        with Store.of(searching) as store:
            states = [job.state for job in store.jobs.of("s", "search")]
        return device, states.count("complete")

    return searched


def crowding_of(*epochs: tuple[float, int], devices: int = 1, left: float = 300.0) -> Crowding:
    """Returns what is known after some epochs of trials that pause: seconds, and how many ran."""
    crowding = Crowding(epochs=80)
    crowding.devices = devices
    for seconds, running in epochs:
        crowding.heard(PAUSING, 1, seconds, running, left)
    return crowding


def test_as_many_trials_run_as_leave_time_for_whole_ones() -> None:
    assert crowding_of().most(300.0) == math.inf
    crowding = crowding_of((6.0, 8), (5.0, 8), (60.0, 8))
    assert crowding.most(300.0) == 3  # a whole trial takes 60 s alone, and may take 200
    crowding.heard(PAUSING, 1, 6.0, running=8, left=10.0)
    assert crowding.most(10.0) == 3  # as much time is left as at the start, for this purpose
    assert crowding_of((100.0, 1)).most(300.0) == 1


def test_each_device_has_a_trial_and_trials_on_different_devices_do_not_share() -> None:
    assert crowding_of((6.0, 32), devices=4).most(300.0) == 4 * 3
    # A whole trial takes 240 s, and two of them no longer.
    assert crowding_of((3.0, 2), devices=2).most(300.0) == 2


def test_without_a_limit_of_time_all_lanes_are_used() -> None:
    crowding = crowding_of((6.0, 8), left=math.inf)
    crowding.heard(WHOLE, 1, 6.0, running=8, left=math.inf)
    assert crowding.most(math.inf) == math.inf


def test_no_trial_begins_that_would_delay_another_past_the_end_of_the_run() -> None:
    crowding = crowding_of((3.0, 3))
    assert crowding.most(32.0) == 2  # two thirds of the run are enough for two whole trials
    crowding.heard(WHOLE, 60, 3.0, running=3, left=32.0)  # it needs 20 s alone, and 40 s beside another
    assert crowding.most(32.0) == 1
    assert crowding.most(45.0) == 2
    assert crowding.most(19.0) == 2, "it cannot be completed any more"
    crowding.ended(WHOLE.uid)
    assert crowding.most(32.0) == 2


def test_a_trial_that_pauses_at_a_rung_is_not_waited_for() -> None:
    crowding = crowding_of((3.0, 3))
    crowding.heard(PAUSING, 60, 3.0, running=3, left=32.0)
    assert crowding.most(32.0) == 2


def test_epochs_that_a_trial_sends_again_when_it_continues_are_not_counted(
    searching: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They say how many trials ran when they were trained, and others run now."""
    heard: Counter[tuple[str, int]] = Counter()
    monkeypatch.setattr(Crowding, "heard", lambda _, job, epoch, *rest: heard.update([(job.uid, epoch)]))
    sweep = make_sweep(epochs=9, budget=6, seconds=0.0, search=SearchSpec(strategy="promote", factor=3, rungs=[1, 3]))
    _, watch = run(sweep, searching, replace(INLINE, lanes="auto"))
    assert watch.replayed > 0
    assert heard.total() == len(watch.rows) - watch.replayed
    assert set(heard.values()) == {1}


def test_a_search_with_little_time_uses_fewer_lanes_and_completes_trials(
    search: Callable[..., tuple[SlowDevice, int]],
) -> None:
    device, complete = search("auto", 200.0)
    assert max(device.counts[:3]) == LANES  # nothing is known yet
    assert max(device.counts[5:]) <= 3
    assert complete >= 3


def test_a_number_of_lanes_is_kept(search: Callable[..., tuple[SlowDevice, int]]) -> None:
    device, _ = search(LANES, 200.0)
    assert max(device.counts[3:]) == LANES


def test_a_slow_trial_is_left_alone_until_it_is_completed(search: Callable[..., tuple[SlowDevice, int]]) -> None:
    """Its epochs take four times as long. Other trials would delay it past the end of the run."""
    device, complete = search("auto", 300.0, slow=4)
    assert min(device.counts[-6:-2]) == 1
    assert max(device.counts[-6:]) > 1, "when it has ended, others begin"
    assert complete == 4


@pytest.mark.parametrize(("seconds", "slow"), [(140.0, 4), (180.0, 6), (300.0, 8)])
def test_a_device_without_a_job_gets_one_although_another_is_crowded(
    search: Callable[..., tuple[SlowDevice, int]], seconds: float, slow: int
) -> None:
    device, _ = search("auto", seconds, slow=slow, devices=2)
    assert device.empty <= 1, "only when the time is over"
