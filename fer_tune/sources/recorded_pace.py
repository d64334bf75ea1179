"""The pace of a sweep's trials, from earlier trials in the database."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from fer_tune.errors import FerTuneError
from fer_tune.job import trained_by_attempt
from fer_tune.selection.cost import MeasuredTrial, TrialPace
from fer_tune.selection.time_shares import TrainedEpoch, time_shares
from fer_tune.sources.device_shares import Share, one_after_another, overhead_of, overlap_of, share_of, usual_lanes
from fer_tune.sources.probed_pace import PROBE_EPOCHS
from fer_tune.store import JobRecord, Store, StudyRecord
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.rung_levels import levels_of

if TYPE_CHECKING:
    from fer_tune.sweep.schema import Sweep

ENOUGH = 24
"""With fewer earlier trials that the sweep could draw, the pace is probed too.

Epochs of the demo's configurations take 0.3 to 1.4 s. So the mean of ten of them is a seventh off.
"""


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
    lanes = usual_lanes([one.beside for one in found])
    return TrialPace(
        trials=tuple(one.trial for one in found),
        overhead=overhead_of(lanes, median(one.overhead for one in found)),
        source=earlier_trials(len(found)),
        lanes=lanes,
    )


def earlier_trials(count: int) -> str:
    """Returns where a pace was measured, in words: by so many earlier trials."""
    return f"{count} earlier trial{'' if count == 1 else 's'}"


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
    shares = {uid: [share_of(row, seconds.get((uid, row.epoch))) for row in rows] for uid, rows in curves.items()}
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


def _usual(shares: Iterable[Sequence[Share]]) -> float:
    """Returns how many trials shared the device in most epochs."""
    return median([share.beside for found in shares for share in found] or [1.0])


def _mean_cost(shares: Sequence[Share], usual: float, overlap: float) -> float:
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
    own = trained_by_attempt(row for study in studies for row in store.epochs.all(study))
    found: dict[tuple[str, int], TrainedEpoch] = {}
    for attempt in [attempt for study in studies for attempt in store.jobs.attempts(study)]:
        if attempt.ended is None or attempt.status == "lost" or not attempt.device.startswith(kind):
            continue
        trained = own.get((attempt.job, attempt.attempt), [])
        device, ended = (attempt.worker, attempt.device), [attempt.ended.timestamp()] * len(trained)
        for row, epoch in zip(trained, one_after_another(device, trained, ended), strict=True):
            found[row.job, row.epoch] = epoch
    return dict(zip(found, time_shares(list(found.values())), strict=True))


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
