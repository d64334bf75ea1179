"""The pace of a sweep's trials: from earlier trials in the database, from a probe, or both."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

import numpy as np

from fer_tune.data.spec import DataRef
from fer_tune.errors import FerTuneError
from fer_tune.job import EpochRow, Job, Value, new_uid
from fer_tune.pool import EndEvent, Event, Lanes, Pool, ProgressEvent, RowEvent, Slot
from fer_tune.pool.lanes import HEAD_START
from fer_tune.selection.cost import MeasuredTrial, TrialPace
from fer_tune.selection.time_shares import TrainedEpoch, time_shares
from fer_tune.store import JobRecord, Store, StudyRecord
from fer_tune.sweep.load import loads_sweep
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

TURNS = 2
"""Probes of a sweep: with few lanes, and with several."""

LANE_EPOCHS = 4
"""Epochs of each with several lanes, if the sweep has no rung up to `LOW`. While one lane builds
its network, the others wait: on an H100 a quarter of a second, as long as three epochs of deep_cnn.
So trials of a probe must be as long as those that pause at the lowest rung."""

OPENING = HEAD_START + 1.0
"""Seconds of a probe before `lanes: auto` surely measures, or opens the lanes that it remembers."""

GPU_OVERLAP = 0.2
"""By how much lanes of a GPU overlap; see `cost.Shape.overlap`. Measured at the ends of twelve
searches of deep_cnn and simple_cnn on H100s, with eight lanes; for resnet with four it was 0.2
too."""

LOW = 12
"""Epochs for which a probe has time."""

PROBE_SECONDS = 30.0
"""A probe ends so many seconds after its first job began. What has not finished an epoch counts by
its steps."""

WAIT_SECONDS = 600.0
"""A probe waits so long for its first free lane: workers start, or end the jobs of another probe. A
job that compiles its kernels hears only later that it should stop."""


def recorded_pace(store: Store, sweep: Sweep, study: StudyRecord, devices: Sequence[str]) -> TrialPace | None:
    """Returns the pace of earlier trials of the sweep's family on this kind of device.

    If there are enough trials whose hyperparameters the sweep could draw, these are all. None
    without any trial.
    """
    kind = devices[0].partition(":")[0]
    spec = study.data_spec
    seconds = _seconds(store, kind)
    earlier = [
        one
        for other in store.studies.all()
        if (other.family, other.data_spec.side, other.data_spec.channels) == (sweep.family, spec.side, spec.channels)
        for one in _earlier(store, sweep, other, kind, study.split.counts.get("train", 0), seconds=seconds)
    ]
    alike = [one for one in earlier if one.trial.curve]
    found = alike if len(alike) >= ENOUGH else earlier
    if not found:
        return None
    lanes = _lanes([one.beside for one in found])
    return TrialPace(
        trials=tuple(one.trial for one in found),
        overhead=_overhead(lanes, median(one.overhead for one in found)),
        source=f"{len(found)} earlier trial{'' if len(found) == 1 else 's'}",
        lanes=lanes,
    )


@dataclass(frozen=True)
class _Earlier:
    """A trial of the database, the seconds of an attempt that were not part of an epoch, and how
    many trials shared its device."""

    trial: MeasuredTrial
    overhead: float
    beside: float


def _earlier(
    store: Store, sweep: Sweep, study: StudyRecord, kind: str, images: int, *, seconds: Mapping[tuple[str, int], float]
) -> Iterator[_Earlier]:
    """Yields what the trials of a study cost. Those that the sweep could not draw have no curve.

    Args:
        kind: of the devices.
        images: in the training part of the sweep.
        seconds: see `_seconds`.
    """
    scale = images / (study.split.counts.get("train", 0) or images or 1)
    overheads = _overheads(store, study.name, kind)
    curves = {uid: rows for uid, rows in store.epochs.curves(study.name).items() if uid in overheads and rows}
    shares = {uid: [_share(row, seconds.get((uid, row.epoch))) for row in rows] for uid, rows in curves.items()}
    usual = _usual(shares.values())
    levels = {PROBE_EPOCHS, *levels_of(sweep)}
    other = _sweep_of(study)
    shortened = may_end_early(sweep) and other is not None and _ends(sweep) == _ends(other)
    searched = other is not None and _searches(sweep) == _searches(other)
    for job in store.jobs.of(study.name, "search"):
        if not (rows := curves.get(job.uid, [])):
            continue
        each = scale * _mean_cost(shares[job.uid], usual, overlap_of(kind))
        length = len(rows) / job.schedule if shortened and job.state in ("complete", "pruned") else math.nan
        curve = {}
        if _could_be_drawn(sweep, job):
            curve = {row.epoch: float(getattr(row, sweep.objective)) for row in rows if row.epoch in levels}
        trial = MeasuredTrial(each, length, job.params, curve, searched and job.name is None)
        yield _Earlier(trial, overheads[job.uid], median(share.beside for share in shares[job.uid]))


@dataclass(frozen=True)
class _Share:
    """What an epoch cost its device.

    Attributes:
        seconds: of the device.
        beside: how many trials shared the device.
    """

    seconds: float
    beside: float


def _share(row: EpochRow, share: float | None) -> _Share:
    """Returns what an epoch cost: its share of the time, if others shared the device.

    Args:
        share: None if it is not known.
    """
    seconds = row.device_seconds if share is None or row.device_seconds == row.seconds else share
    return _Share(seconds, row.seconds / seconds if seconds else 1.0)


def _usual(shares: Iterable[Sequence[_Share]]) -> float:
    """Returns how many trials shared the device in most epochs."""
    return median([share.beside for found in shares for share in found] or [1.0])


def _mean_cost(shares: Sequence[_Share], usual: float, overlap: float) -> float:
    """Returns the mean device-seconds of epochs, as if the usual number of trials had shared the
    device.

    At the end of a search few trials are left, and an epoch costs more than it did before. The
    forecast adds that, so it must not be in the measurement.
    """
    return fmean(share.seconds * min(share.beside / usual, 1.0) ** overlap for share in shares)


def _seconds(store: Store, kind: str) -> dict[tuple[str, int], float]:
    """Returns the device-seconds of epochs on this kind of device, by job and epoch: their shares
    of the time.

    The epochs of an attempt were trained one after another until it ended. Those of an attempt
    whose end is not known are left out. Studies of one run share its devices, so it reads all.
    """
    studies = [study.name for study in store.studies.all()]
    # An attempt that continues from a checkpoint has the rows before it too.
    rows = [row for study in studies for row in store.epochs.all(study)]
    before: set[tuple[str, int, float]] = set()
    own: dict[tuple[str, int], list[EpochRow]] = {}
    for row in sorted(rows, key=lambda row: (row.attempt, row.epoch)):
        if (row.job, row.epoch, row.seconds) not in before:
            before.add((row.job, row.epoch, row.seconds))
            own.setdefault((row.job, row.attempt), []).append(row)
    found: dict[tuple[str, int], TrainedEpoch] = {}
    for attempt in [attempt for study in studies for attempt in store.jobs.attempts(study)]:
        if attempt.ended is None or attempt.status == "lost" or not attempt.device.startswith(kind):
            continue
        trained = own.get((attempt.job, attempt.attempt), [])
        device, ended = (attempt.worker, attempt.device), [attempt.ended.timestamp()] * len(trained)
        for row, epoch in zip(trained, _one_after_another(device, trained, ended), strict=True):
            found[row.job, row.epoch] = epoch
    return dict(zip(found, time_shares(list(found.values())), strict=True))


def overlap_of(device: str) -> float:
    """Returns by how much the lanes of a device overlap; see `cost.Shape.overlap`."""
    return 0.0 if device.startswith("cpu") else GPU_OVERLAP


def _one_after_another(device: object, rows: Sequence[EpochRow], latest: Sequence[float]) -> list[TrainedEpoch]:
    """Returns when the epochs of a job were trained.

    Args:
        device: where.
        latest: when each had ended at the latest, in seconds. Several may be heard of at once.
    """
    found: list[TrainedEpoch] = []
    until = math.inf
    for row, known in zip(reversed(rows), reversed(latest), strict=True):
        ended = min(until, known)
        until = ended - row.seconds
        found.append(TrainedEpoch(device, until, ended))
    return found[::-1]


def may_end_early(sweep: Sweep) -> bool:
    """Returns whether trials of the sweep may end before their last epoch, and not at a rung."""
    return sweep.search.strategy == "prune" and (sweep.pruner.name != "none" or sweep.patience > 0)


def _sweep_of(study: StudyRecord) -> Sweep | None:
    """Returns the sweep of a study; None if it is not valid any more, such as one whose family's
    file is not there."""
    try:
        return loads_sweep(study.sweep_text, Path(f"{study.name}.yaml"))
    except FerTuneError:
        return None


def _ends(sweep: Sweep) -> tuple[object, ...]:
    """Returns the rules by which trials of a sweep end early."""
    return sweep.search.strategy, sweep.pruner, sweep.patience


def _searches(sweep: Sweep) -> tuple[object, ...]:
    """Returns what a search proposes its trials from, and the rules by which they continue."""
    return sweep.space, sweep.start, sweep.sampler, sweep.search, sweep.objective, sweep.budget.epochs


def _lanes(beside: Sequence[float]) -> int:
    return max(1, round(median(beside)))


def _overhead(lanes: int, seconds: float) -> float:
    """Returns what an attempt costs its device beside its epochs.

    Several lanes train meanwhile, and their epochs contain that time.
    """
    return max(0.0, seconds) if lanes == 1 else 0.0


def joined(earlier: TrialPace | None, probed: TrialPace | None) -> TrialPace | None:
    """Returns the pace of earlier trials and of a probe together."""
    if earlier is None or probed is None:
        return earlier or probed
    source = f"{earlier.source} and {probed.source}"
    return replace(earlier, trials=(*earlier.trials, *probed.trials), source=source, probed=True)


def _overheads(store: Store, study: str, kind: str) -> dict[str, float]:
    """Returns for each job the seconds of its first attempt that were not part of an epoch."""
    trained: dict[str, float] = {}
    for row in store.epochs.all(study):
        if row.attempt == 0:
            trained[row.job] = trained.get(row.job, 0.0) + row.seconds
    return {
        one.job: (one.ended - one.started).total_seconds() - trained[one.job]
        for one in store.jobs.attempts(study)
        if one.ended is not None and one.attempt == 0 and one.job in trained and one.device.startswith(kind)
    }


def _could_be_drawn(sweep: Sweep, job: JobRecord) -> bool:
    return all(
        any(one.domain.contains(job.params[name]) for one in sweep.space.values() if one.name == name)
        for name in {one.name for one in sweep.space.values()}
        if name in job.params
    )


def probed_pace(
    sweep: Sweep, pool: Pool, data: DataRef, lanes: Lanes, remembered: Path | None = None
) -> TrialPace | None:
    """Returns the pace of a few configurations, which it trains for seconds; None if all failed.

    No trial is recorded. Several lanes are probed again, with other configurations, and the second
    time counts. The first captures of a process take seconds, in which the other lanes wait, and
    networks that are known already take none. On a machine that has compiled no kernels yet, the
    first time may take all of a probe's seconds.

    Args:
        remembered: the file in which `auto` keeps the number of lanes, so that the run finds it.
    """
    pool.use_lanes(lanes, remembered)
    opens = lanes == "auto" and pool.workers[0].device != "cpu"
    probe = _Probe(sweep, data, PROBE_EPOCHS, least=OPENING if opens else 0.0)
    probe.run(pool)
    first = probe.pace()
    if max(worker.lanes for worker in pool.workers) == 1:
        return first
    probe = _Probe(sweep, data, lane_epochs(sweep), turn=1)
    probe.run(pool)
    return probe.pace() or first


def lane_epochs(sweep: Sweep) -> int:
    """Returns for how many epochs several lanes are probed; see `LANE_EPOCHS`."""
    lowest = levels_of(sweep)[0]
    return lowest if sweep.search.strategy == "promote" and PROBE_EPOCHS <= lowest <= LOW else LANE_EPOCHS


class _Probe:
    """A few configurations in training.

    Args:
        epochs: of each.
        turn: each turn has other configurations.
        least: seconds for which it trains at least, with more configurations if it must.

    Attributes:
        running: the jobs that have not ended, with the time at which they began.
        slots: where each job that began is trained.
    """

    def __init__(self, sweep: Sweep, data: DataRef, epochs: int, turn: int = 0, least: float = 0.0) -> None:
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
        deadline, until = time.monotonic() + WAIT_SECONDS, -math.inf
        while (self._waiting or self.running) and time.monotonic() < deadline:
            for slot in pool.idle():
                if not self.slots:
                    deadline, until = time.monotonic() + PROBE_SECONDS, time.monotonic() + self._least
                if self._waiting:
                    self._submit(pool, slot, self._waiting.pop())
            for event in pool.events(0.1):
                self._hear(event)
            if not self._waiting and not self.running and time.monotonic() < until:
                self._draw()
        for uid in self.running:
            pool.stop_job(self.slots[uid])

    def _submit(self, pool: Pool, slot: Slot, job: Job) -> None:
        self.running[job.uid], self.slots[job.uid] = time.monotonic(), slot
        pool.submit(slot, job)

    def _hear(self, event: Event) -> None:
        """Notes what is said of the probe's own jobs. An earlier probe may still train some."""
        if isinstance(event, RowEvent | ProgressEvent | EndEvent) and _job_of(event) not in self._jobs:
            return
        if isinstance(event, RowEvent):
            row = event.row
            if row.epoch == 1:
                self._firsts.append(time.monotonic() - self.running[row.job] - row.seconds)
            self._rows.setdefault(row.job, []).append(row)
            self._heard.setdefault(row.job, []).append(time.monotonic())
        elif isinstance(event, ProgressEvent) and event.progress.step:
            passed = time.monotonic() - self.running[event.progress.job]
            self._parts[event.progress.job] = passed * event.progress.steps / event.progress.step
        elif isinstance(event, EndEvent):
            self.running.pop(event.end.job, None)

    def pace(self) -> TrialPace | None:
        """Returns the pace of what was trained; None if nothing was."""
        trained = [
            epoch
            for uid, found in self._rows.items()
            for epoch in _one_after_another(self.slots[uid].worker, found, self._heard[uid])
        ]
        each = iter(time_shares(trained))
        shares = {uid: [_share(row, next(each)) for row in found] for uid, found in self._rows.items()}
        trials = [
            _probed(self._sweep, self._jobs[uid], found, fmean(share.seconds for share in shares[uid]))
            for uid, found in self._rows.items()
        ]
        trials += [MeasuredTrial(seconds) for uid, seconds in self._parts.items() if uid not in self._rows]
        if not trials:
            return None
        lanes = _lanes([_share(row, None).beside for found in self._rows.values() for row in found] or [1.0])
        overhead = _overhead(lanes, min(self._firsts, default=0.0))
        return TrialPace(tuple(trials), overhead, f"a probe of {len(trials)} configurations", lanes, probed=True)


def _job_of(event: RowEvent | ProgressEvent | EndEvent) -> str:
    if isinstance(event, RowEvent):
        return event.row.job
    return event.progress.job if isinstance(event, ProgressEvent) else event.end.job


def _probed(sweep: Sweep, job: Job, rows: Sequence[EpochRow], seconds: float) -> MeasuredTrial:
    return MeasuredTrial(seconds, params=job.params, curve={rows[-1].epoch: float(getattr(rows[-1], sweep.objective))})


def _configurations(sweep: Sweep, turn: int) -> list[dict[str, Value]]:
    """Returns the first start configuration, and random ones, others in each turn."""
    from fer_tune.study.configurations import Cube
    from fer_tune.sweep.space import named

    random = np.random.default_rng([sweep.seed, turn] if turn else sweep.seed)
    cube = Cube(sweep.space)
    fixed = fixed_values(sweep.space)
    found: list[dict[str, Value]] = [
        fixed | named(cube.configuration(point)) for point in cube.draw(PROBES - bool(sweep.start), random)
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
