"""Tests of the pace that a probe measures."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from fer_tune.data.spec import DataRef
from fer_tune.job import Job, JobEnd
from fer_tune.pool import EndEvent, Event, Pool, RowEvent, Slot, WorkerInfo
from fer_tune.settings import Settings
from fer_tune.sources.probed_pace import PROBES, lane_epochs, probed_pace
from fer_tune.sweep.schema import SearchSpec, Sweep
from fer_tune.sweep.space import Range
from tests.pool.trainers import row
from tests.searches import make_sweep

DATA = DataRef(Path("cache"), "s", Path("split"), "h")


@pytest.fixture
def sweep() -> Sweep:
    return make_sweep(epochs=9, budget=12, seconds=0.0, search=SearchSpec(strategy="promote", factor=3, rungs=[1, 3]))


class Sharing:
    """A pool with lanes of one device. Each epoch takes 1 s, and 2 s pass before the first.

    Its first jobs take four times as long, like those of a new process.
    """

    def __init__(self, lanes: int) -> None:
        self.now = 0.0
        self.lanes = lanes
        self.trained = 0
        self.remembered: Path | None = None
        self._jobs: list[Job] = []

    def monotonic(self) -> float:
        return self.now

    @property
    def workers(self) -> list[WorkerInfo]:
        return [WorkerInfo(0, "cuda:0", None, lanes=self.lanes)]

    def use_lanes(self, lanes: object, remembered: Path | None = None) -> None:
        self.remembered = remembered

    def idle(self) -> list[Slot]:
        return [Slot(0, lane) for lane in range(self.lanes - len(self._jobs))]

    def submit(self, slot: Slot, job: Job) -> None:
        self._jobs.append(job)

    def stop_job(self, slot: Slot, keep: bool = False) -> None:
        """Does nothing: each job has ended before the time is over, or does not hear."""

    def events(self, timeout: float) -> list[Event]:
        seconds = 4.0 if self.trained < PROBES else 1.0
        self.now += 2.0 + seconds
        found: list[Event] = []
        for lane, job in enumerate(self._jobs):
            sent = replace(row(job, 1, 0.5), seconds=seconds, device_seconds=seconds / self.lanes)
            found += [RowEvent(Slot(0, lane), sent), EndEvent(Slot(0, lane), JobEnd(job.uid, 0, "paused"))]
        self.trained += len(self._jobs)
        self._jobs = []
        return found


class Instant(Sharing):
    """The same, but no clock is fine enough for its epochs."""

    def events(self, timeout: float) -> list[Event]:
        found = super().events(timeout)
        return [
            replace(event, row=replace(event.row, seconds=0.0, device_seconds=0.0))
            if isinstance(event, RowEvent)
            else event
            for event in found
        ]


class Compiling(Sharing):
    """The same, but its first jobs compile their kernels for ten minutes."""

    def events(self, timeout: float) -> list[Event]:
        if self.now == 0:
            self.now = 600.0
            return []
        return super().events(timeout)


class Slow(Sharing):
    """The same with one lane. Its first job ends only 40 s after it was asked to stop."""

    def __init__(self) -> None:
        super().__init__(lanes=1)
        self.stopped = math.inf

    def stop_job(self, slot: Slot, keep: bool = False) -> None:
        self.stopped = min(self.stopped, self.now)

    def events(self, timeout: float) -> list[Event]:
        if self.now > self.stopped + 40.0:
            return super().events(timeout)
        self.now += 1.0
        if self.now <= self.stopped + 40.0:
            return []
        return [EndEvent(Slot(0), JobEnd(self._jobs.pop().uid, 0, "stopped"))]


def test_a_probe_stops_its_jobs_and_the_next_one_waits_for_their_end(sweep: Sweep) -> None:
    pool = Slow()
    assert probed_pace(sweep, cast(Pool, pool), DATA, 1, clock=pool.monotonic) is None
    assert pool.stopped == 30.0
    pace = probed_pace(sweep, cast(Pool, pool), DATA, 1, clock=pool.monotonic)
    assert pace is not None
    assert len(pace.epochs) == 5, "it has all of its 30 s"


@pytest.mark.parametrize(("lanes", "expected"), [(1, (4.0, 2.0, 5)), (4, (0.25, 0.0, 2 * PROBES))])
def test_several_lanes_are_probed_twice_and_their_preparations_cost_the_device_nothing(
    searching: Settings, sweep: Sweep, lanes: int, expected: tuple[float, float, int]
) -> None:
    """One lane is probed for 30 s, in which five configurations of 6 s are trained."""
    pool, remembered = Sharing(lanes), Path("lanes.json")
    pace = probed_pace(sweep, cast(Pool, pool), DATA, "auto", remembered, clock=pool.monotonic)
    assert pace is not None
    epoch, overhead, trained = expected
    assert (set(pace.epochs), pace.overhead, pace.lanes) == ({epoch}, pytest.approx(overhead), lanes)
    assert (pool.trained, pool.remembered) == (trained, remembered)
    assert all("value" in trial.params and set(trial.curve) == {1} for trial in pace.trials)


def test_the_configurations_of_a_probe_cover_the_space_evenly(searching: Settings, sweep: Sweep) -> None:
    pool = Sharing(lanes=4)
    pace = probed_pace(sweep, cast(Pool, pool), DATA, "auto", clock=pool.monotonic)
    assert pace is not None
    values = np.array([trial.params["value"] for trial in pace.trials], dtype=float)
    domain = sweep.space["value"].domain
    assert isinstance(domain, Range)
    parts = (values - domain.low) / (domain.high - domain.low) * PROBES
    assert sorted(parts.astype(int)) == list(range(PROBES))


@pytest.mark.parametrize(
    ("search", "epochs", "probed"),
    [
        (SearchSpec(strategy="promote", first=9), 30, 9),
        (SearchSpec(strategy="promote"), 40, 4),
        (SearchSpec(strategy="promote"), 200, 4),  # a rung at 20 takes too long
        (SearchSpec(strategy="promote", rungs=[1, 3]), 9, 4),
        (SearchSpec(), 30, 4),
    ],
)
def test_lanes_are_probed_with_trials_as_long_as_those_that_pause_first(
    search: SearchSpec, epochs: int, probed: int
) -> None:
    assert lane_epochs(make_sweep(epochs=epochs, search=search)) == probed


def test_several_lanes_are_measured_even_if_preparing_them_took_all_the_time(searching: Settings, sweep: Sweep) -> None:
    pool = Compiling(8)
    pace = probed_pace(sweep, cast(Pool, pool), DATA, "auto", clock=pool.monotonic)
    assert pace is not None
    assert pace.epochs == pytest.approx([4 / 8] * 8 + [1 / 4] * 4), "the last four share the device"
    assert (pace.lanes, pace.overhead) == (8, 0.0)
    assert pool.trained == 8 + PROBES


def test_epochs_that_take_no_time_are_probed(sweep: Sweep) -> None:
    pool = Instant(1)
    pace = probed_pace(sweep, cast(Pool, pool), DATA, 1, clock=pool.monotonic)
    assert pace is not None
    assert (set(pace.epochs), pace.lanes) == ({0.0}, 1)
