"""The pace of a sweep's trials: from earlier trials in the database, from a probe, or both."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from fer_tune.data.spec import DataRef
from fer_tune.job import EpochRow, Job, Value, new_uid
from fer_tune.pool import EndEvent, Lanes, Pool, ProgressEvent, RowEvent
from fer_tune.selection.cost import MeasuredTrial, TrialPace
from fer_tune.store import JobRecord, Store, StudyRecord
from fer_tune.sweep.rung_levels import levels_of
from fer_tune.sweep.space import fixed_values

if TYPE_CHECKING:
    from fer_tune.sweep.schema import Sweep

ENOUGH = 24
"""With fewer earlier trials, the pace is probed too.

Epochs of the demo's configurations take 0.3 to 1.4 s. So the mean of ten of them is a seventh off.
"""

PROBES = 12
"""Configurations that a probe trains: the first start configuration, and random ones."""

PROBE_EPOCHS = 2
"""Epochs of each. The first one includes preparations, as in a search with many short trials."""

PROBE_SECONDS = 30.0
"""A probe ends after so many seconds. What has not finished an epoch counts by its steps."""


def recorded_pace(store: Store, sweep: Sweep, study: StudyRecord, devices: Sequence[str]) -> TrialPace | None:
    """Returns the pace of earlier trials of the sweep's family on this kind of device.

    If there are enough trials whose hyperparameters the sweep could draw, these are all. None
    without any trial.
    """
    kind = devices[0].partition(":")[0]
    spec = study.data_spec
    earlier = [
        one
        for other in store.studies.all()
        if (other.family, other.data_spec.side, other.data_spec.channels) == (sweep.family, spec.side, spec.channels)
        for one in _earlier(store, sweep, other, kind, study.split.counts.get("train", 0))
    ]
    alike = [one for one in earlier if one.trial.curve]
    found = alike if len(alike) >= ENOUGH else earlier
    if not found:
        return None
    return TrialPace(
        trials=tuple(one.trial for one in found),
        overhead=median(one.overhead for one in found),
        source=f"{len(found)} earlier trial{'' if len(found) == 1 else 's'}",
        lanes=_lanes([one.beside for one in found]),
    )


@dataclass(frozen=True)
class _Earlier:
    """A trial of the database, the device-seconds of an attempt that were not part of an epoch, and
    how many trials shared its device."""

    trial: MeasuredTrial
    overhead: float
    beside: float


def _earlier(store: Store, sweep: Sweep, study: StudyRecord, kind: str, images: int) -> Iterator[_Earlier]:
    """Yields what the trials of a study cost. Those that the sweep could not draw have no curve.

    Args:
        kind: of the devices.
        images: in the training part of the sweep.
    """
    scale = images / (study.split.counts.get("train", 0) or images or 1)
    curves = store.epochs.curves(study.name)
    overheads = _overheads(store, study.name, kind)
    levels = {PROBE_EPOCHS, *levels_of(sweep)}
    for job in store.jobs.of(study.name, "search"):
        if job.uid not in overheads or not (rows := curves.get(job.uid)):
            continue
        each = scale * median(row.device_seconds for row in rows)
        length = len(rows) / job.schedule if job.state in ("complete", "pruned") else math.nan
        curve = {}
        if _could_be_drawn(sweep, job):
            curve = {row.epoch: float(getattr(row, sweep.objective)) for row in rows if row.epoch in levels}
        trial = MeasuredTrial(each, length, job.params, curve)
        yield _Earlier(trial, overheads[job.uid], median(_beside(row) for row in rows))


def _beside(row: EpochRow) -> float:
    """Returns how many trials shared the device in an epoch."""
    return row.seconds / row.device_seconds if row.device_seconds else 1.0


def _lanes(beside: Sequence[float]) -> int:
    return max(1, round(median(beside)))


def joined(earlier: TrialPace | None, probed: TrialPace | None) -> TrialPace | None:
    """Returns the pace of earlier trials and of a probe together."""
    if earlier is None or probed is None:
        return earlier or probed
    source = f"{earlier.source} and {probed.source}"
    return replace(earlier, trials=(*earlier.trials, *probed.trials), source=source)


def _overheads(store: Store, study: str, kind: str) -> dict[str, float]:
    """Returns for each job the device-seconds of an attempt that were not part of an epoch."""
    trained: dict[tuple[str, int], tuple[float, float]] = {}
    for row in store.epochs.all(study):
        seconds, shared = trained.get((row.job, row.attempt), (0.0, 0.0))
        trained[row.job, row.attempt] = seconds + row.seconds, shared + row.device_seconds
    found = {}
    for one in store.jobs.attempts(study):
        seconds, shared = trained.get((one.job, one.attempt), (0.0, 0.0))
        if one.ended is not None and one.attempt == 0 and seconds > 0 and one.device.startswith(kind):
            beside = max(0.0, (one.ended - one.started).total_seconds() - seconds)
            found[one.job] = beside * shared / seconds
    return found


def _could_be_drawn(sweep: Sweep, job: JobRecord) -> bool:
    return all(
        any(one.domain.contains(job.params[name]) for one in sweep.space.values() if one.name == name)
        for name in {one.name for one in sweep.space.values()}
        if name in job.params
    )


def probed_pace(sweep: Sweep, pool: Pool, data: DataRef, lanes: Lanes) -> TrialPace | None:
    """Returns the pace of a few configurations, which it trains for seconds; None if all failed.

    Nothing of it is recorded.
    """
    pool.use_lanes(lanes)
    waiting = [_job(sweep, params, data, seed) for seed, params in enumerate(_configurations(sweep))]
    jobs = {job.uid: job for job in waiting}
    began: dict[str, float] = {}
    rows: dict[str, list[EpochRow]] = {}
    parts: dict[str, float] = {}
    firsts: list[float] = []
    deadline = time.monotonic() + PROBE_SECONDS
    while (waiting or began) and time.monotonic() < deadline:
        for slot in pool.idle():
            if waiting:
                job = waiting.pop()
                began[job.uid] = time.monotonic()
                pool.submit(slot, job)
        for event in pool.events(0.1):
            if isinstance(event, RowEvent):
                row = event.row
                if row.epoch == 1:
                    firsts.append((time.monotonic() - began[row.job] - row.seconds) / _beside(row))
                rows.setdefault(row.job, []).append(row)
            elif isinstance(event, ProgressEvent) and event.progress.step:
                passed = time.monotonic() - began[event.progress.job]
                parts[event.progress.job] = passed * event.progress.steps / event.progress.step
            elif isinstance(event, EndEvent):
                began.pop(event.end.job, None)
    trials = [_probed(sweep, jobs[uid], found) for uid, found in rows.items()]
    trials += [MeasuredTrial(seconds) for uid, seconds in parts.items() if uid not in rows]
    if not trials:
        return None
    overhead = max(0.0, min(firsts, default=0.0))
    beside = [_beside(row) for found in rows.values() for row in found]
    return TrialPace(tuple(trials), overhead, f"a probe of {len(trials)} configurations", _lanes(beside or [1.0]))


def _probed(sweep: Sweep, job: Job, rows: Sequence[EpochRow]) -> MeasuredTrial:
    seconds = sum(row.device_seconds for row in rows) / len(rows)
    return MeasuredTrial(seconds, params=job.params, curve={rows[-1].epoch: float(getattr(rows[-1], sweep.objective))})


def _configurations(sweep: Sweep) -> list[dict[str, Value]]:
    """Returns the first start configuration, and random ones."""
    from fer_tune.study.configurations import Cube
    from fer_tune.sweep.space import named

    random = np.random.default_rng(sweep.seed)
    cube = Cube(sweep.space)
    fixed = fixed_values(sweep.space)
    found: list[dict[str, Value]] = [
        fixed | named(cube.configuration(point)) for point in cube.draw(PROBES - bool(sweep.start), random)
    ]
    return [*found, *([fixed | dict(sweep.start[0].params)] if sweep.start else [])]


def _job(sweep: Sweep, params: dict[str, Value], data: DataRef, seed: int) -> Job:
    return Job(
        uid=new_uid(),
        study=sweep.study,
        kind="search",
        family=sweep.family,
        params=params,
        schedule=max(sweep.budget.epochs, PROBE_EPOCHS + 1),
        until=PROBE_EPOCHS,
        seed=seed,
        data=data,
    )
