"""The pace of a sweep's trials, from a probe: a few of its configurations, trained for seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from fer_tune.data.spec import DataRef
from fer_tune.job import EpochRow, Job, Value, new_uid
from fer_tune.pool import EndEvent, Event, Lanes, Pool, ProgressEvent, RowEvent, Slot
from fer_tune.pool.lanes import HEAD_START
from fer_tune.selection.cost import MeasuredTrial, TrialPace
from fer_tune.selection.time_shares import time_shares
from fer_tune.sources.device_shares import one_after_another, overhead_of, share_of, usual_lanes
from fer_tune.sweep.rung_levels import levels_of
from fer_tune.sweep.space import fixed_values

if TYPE_CHECKING:
    from fer_tune.sweep.schema import Sweep

PROBES = 12
"""Configurations that a probe trains: the first start configuration, and others that cover the
space evenly. From twelve random ones of deep_cnn, the mean cost of an epoch is known with an error
of 14 %, and from twelve even ones with 6 % (`benchmarks.search.probe_cost`)."""

PROBE_EPOCHS = 2
"""Epochs of each. The first one includes preparations, as in a search with many short trials."""

TURNS = 2
"""Probes of a sweep: with few lanes, and with several."""

LANE_EPOCHS = 4
"""Epochs of each with several lanes, if the sweep has no rung up to `LOW`. While one lane builds
its network, the others wait: on an H100 a quarter of a second, as long as three epochs of deep_cnn.
So trials of a probe must be as long as those that pause at the lowest rung."""

OPENING = HEAD_START + 1.0
"""Seconds of a probe before `lanes: auto` surely measures, or opens the lanes that it remembers."""

LOW = 12
"""Epochs for which a probe has time."""

PROBE_SECONDS = 30.0
"""A probe ends so many seconds after its first job began. What has not finished an epoch counts by
its steps."""

WAIT_SECONDS = 600.0
"""A probe waits so long for its first free lane: workers start, or end the jobs of another probe. A
job that compiles its kernels hears only later that it should stop."""


def probed_pace(
    sweep: Sweep,
    pool: Pool,
    data: DataRef,
    lanes: Lanes,
    remembered: Path | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> TrialPace | None:
    """Returns the pace of a few configurations, which it trains for seconds; None if all failed.

    No trial is recorded. Several lanes are probed again, with other configurations, and the second
    time counts. The first captures of a process take seconds, in which the other lanes wait, and
    networks that are known already take none. On a machine that has compiled no kernels yet, the
    first time may take all of a probe's seconds.

    Args:
        remembered: the file in which `auto` keeps the number of lanes, so that the run finds it.
        clock: returns the time in seconds. A simulation has a clock of its own.
    """
    pool.use_lanes(lanes, remembered)
    opens = lanes == "auto" and pool.workers[0].device != "cpu"
    probe = _Probe(sweep, data, clock, PROBE_EPOCHS, least=OPENING if opens else 0.0)
    probe.run(pool)
    first = probe.pace()
    if max(worker.lanes for worker in pool.workers) == 1:
        return first
    probe = _Probe(sweep, data, clock, lane_epochs(sweep), turn=1)
    probe.run(pool)
    return probe.pace() or first


def lane_epochs(sweep: Sweep) -> int:
    """Returns for how many epochs several lanes are probed; see `LANE_EPOCHS`."""
    lowest = levels_of(sweep)[0]
    return lowest if sweep.search.strategy == "promote" and PROBE_EPOCHS <= lowest <= LOW else LANE_EPOCHS


class _Probe:
    """A few configurations in training.

    Args:
        clock: returns the time in seconds.
        epochs: of each.
        turn: each turn has other configurations.
        least: seconds for which it trains at least, with more configurations if it must.

    Attributes:
        running: the jobs that have not ended, with the time at which they began.
        slots: where each job that began is trained.
    """

    def __init__(
        self,
        sweep: Sweep,
        data: DataRef,
        clock: Callable[[], float],
        epochs: int,
        *,
        turn: int = 0,
        least: float = 0.0,
    ) -> None:
        self._now = clock
        self._sweep, self._data, self._epochs, self._turn, self._least = sweep, data, epochs, turn, least
        self._waiting: list[Job] = []
        self._jobs: dict[str, Job] = {}
        self.running: dict[str, float] = {}
        self.slots: dict[str, Slot] = {}
        self._rows: dict[str, list[EpochRow]] = {}
        self._heard: dict[str, list[float]] = {}
        self._parts: dict[str, float] = {}
        self._firsts: list[float] = []
        self._draw()

    def _draw(self) -> None:
        """Draws the configurations of a turn."""
        configurations = enumerate(_configurations(self._sweep, self._turn))
        self._waiting = [_job(self._sweep, one, self._data, seed, self._epochs) for seed, one in configurations]
        self._jobs |= {job.uid: job for job in self._waiting}
        self._turn += TURNS

    def run(self, pool: Pool) -> None:
        """Trains the configurations until all have ended or the time is over.

        Then it asks the other jobs to stop, because the next probe needs their lanes.
        """
        deadline, until = self._now() + WAIT_SECONDS, -math.inf
        while (self._waiting or self.running) and self._now() < deadline:
            for slot in pool.idle():
                if not self.slots:
                    deadline, until = self._now() + PROBE_SECONDS, self._now() + self._least
                if self._waiting:
                    self._submit(pool, slot, self._waiting.pop())
            for event in pool.events(0.1):
                self._hear(event)
            if not self._waiting and not self.running and self._now() < until:
                self._draw()
        for uid in self.running:
            pool.stop_job(self.slots[uid])

    def _submit(self, pool: Pool, slot: Slot, job: Job) -> None:
        self.running[job.uid], self.slots[job.uid] = self._now(), slot
        pool.submit(slot, job)

    def _hear(self, event: Event) -> None:
        """Notes what is said of the probe's own jobs. An earlier probe may still train some."""
        if isinstance(event, RowEvent | ProgressEvent | EndEvent) and _job_of(event) not in self._jobs:
            return
        if isinstance(event, RowEvent):
            row = event.row
            if row.epoch == 1:
                self._firsts.append(self._now() - self.running[row.job] - row.seconds)
            self._rows.setdefault(row.job, []).append(row)
            self._heard.setdefault(row.job, []).append(self._now())
        elif isinstance(event, ProgressEvent) and event.progress.step:
            passed = self._now() - self.running[event.progress.job]
            self._parts[event.progress.job] = passed * event.progress.steps / event.progress.step
        elif isinstance(event, EndEvent):
            self.running.pop(event.end.job, None)

    def pace(self) -> TrialPace | None:
        """Returns the pace of what was trained; None if nothing was."""
        trained = [
            epoch
            for uid, found in self._rows.items()
            for epoch in one_after_another(self.slots[uid].worker, found, self._heard[uid])
        ]
        each = iter(time_shares(trained))
        shares = {uid: [share_of(row, next(each)) for row in found] for uid, found in self._rows.items()}
        trials = [
            _probed(self._sweep, self._jobs[uid], found, fmean(share.seconds for share in shares[uid]))
            for uid, found in self._rows.items()
        ]
        trials += [MeasuredTrial(seconds) for uid, seconds in self._parts.items() if uid not in self._rows]
        if not trials:
            return None
        lanes = usual_lanes([share_of(row, None).beside for found in self._rows.values() for row in found] or [1.0])
        overhead = overhead_of(lanes, min(self._firsts, default=0.0))
        return TrialPace(tuple(trials), overhead, f"a probe of {len(trials)} configurations", lanes, probed=True)


def _job_of(event: RowEvent | ProgressEvent | EndEvent) -> str:
    if isinstance(event, RowEvent):
        return event.row.job
    return event.progress.job if isinstance(event, ProgressEvent) else event.end.job


def _probed(sweep: Sweep, job: Job, rows: Sequence[EpochRow], seconds: float) -> MeasuredTrial:
    return MeasuredTrial(seconds, params=job.params, curve={rows[-1].epoch: float(getattr(rows[-1], sweep.objective))})


def _configurations(sweep: Sweep, turn: int) -> list[dict[str, Value]]:
    """Returns the first start configuration, and some of the whole space, others in each turn."""
    from fer_tune.study.configurations import Cube
    from fer_tune.sweep.space import named

    random = np.random.default_rng([sweep.seed, turn] if turn else sweep.seed)
    cube = Cube(sweep.space)
    fixed = fixed_values(sweep.space)
    found: list[dict[str, Value]] = [
        fixed | named(cube.configuration(point)) for point in cube.stratified(PROBES - bool(sweep.start), random)
    ]
    return [*found, *([fixed | dict(sweep.start[0].params)] if sweep.start else [])]


def _job(sweep: Sweep, params: dict[str, Value], data: DataRef, seed: int, epochs: int) -> Job:
    return Job(
        uid=new_uid(),
        study=sweep.study,
        kind="search",
        family=sweep.family,
        params=params,
        schedule=max(sweep.budget.epochs, epochs + 1),
        until=epochs,
        seed=seed,
        data=data,
    )
