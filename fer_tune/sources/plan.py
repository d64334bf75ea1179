"""The plan of a run: what its sweeps will cost, before anything is trained.

The plan is kept with the study. When a run of the study ends, what it took is kept beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from fer_tune.errors import TrainingError
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.runner import LANES_FILE
from fer_tune.pool import Lanes, Pool
from fer_tune.pool.port import TrainerFactory, load_trainer
from fer_tune.selection.cost import Forecast, ForecastRange, Shape, TrialPace, forecast
from fer_tune.settings import Settings
from fer_tune.sources.device_shares import overlap_of
from fer_tune.sources.probed_pace import probed_pace
from fer_tune.sources.recorded_pace import ENOUGH, earlier_trials, may_end_early, recorded_pace
from fer_tune.sweep.rung_levels import levels_of

if TYPE_CHECKING:
    from fer_tune.sources.search import Search
    from fer_tune.sources.workers import RunOptions
    from fer_tune.store import Store
    from fer_tune.sweep.schema import Sweep

DRIFT = 0.1
"""By how much the time of a search differs from the forecast; see `Shape.drift`.

The same search took 98 to 126 s on two shared CPU cores, because their speed drifts. On GPUs, other
trials continue than those of the rehearsals.
"""

PROBED_DRIFT = 0.2
"""The same for several lanes that were probed. Twelve configurations say little of how slow those
are that a search comes to prefer."""

GPU_START = 2.2
"""Seconds for which a GPU has a trial and no epoch passes: it gets the images, captures the first
step, and saves the last trials. Measured in twelve searches on H100s: 1.8 to 3.5."""

HEAD_START_COSTS = 0.6
"""Seconds of a GPU that the head start of `lanes: auto` costs a run; see `pool.lanes.HEAD_START`.
Mean of the same twelve searches. A lone trial uses a GPU less well than several do."""

USED_UP = "its budget is used up, so nothing is left to train"
OUT_OF_PATIENCE = "its patience is over (budget.patience), so no further trial starts"
ONLY_CONTINUES = "all its trials have begun; what those that continue will take is not planned"
"""Why no trial would start."""


@dataclass(frozen=True)
class SweepPlan:
    """What one sweep will cost.

    Attributes:
        devices: one for each worker.
        pace: what trials cost, and where that was measured.
        forecast: of all devices together.
        seconds: wall time, without the start of the workers.
        patience: `budget.patience`, which may end the study before that, or None.
        nothing: why no trial would start; empty if one would.
    """

    study: str
    devices: tuple[str, ...]
    pace: TrialPace
    forecast: Forecast
    seconds: ForecastRange
    patience: int | None = None
    nothing: str = ""


def plan_sweeps(
    sweeps: Sequence[Sweep],
    settings: Settings,
    options: RunOptions,
    note: Callable[[str], object],
    trainer: TrainerFactory = load_trainer,
    *,
    planned: Callable[[SweepPlan], object] = lambda plan: None,
) -> list[SweepPlan]:
    """Returns what sweeps will cost. It makes their studies and keeps the plans in them.

    Args:
        note: is called with one line that the user should read.
        planned: is called with each plan as soon as it is made.

    Raises:
        SettingsError, DataError, StudyError, StorageError, PoolError: as `run_sweeps`.
        TrainingError: no configuration of a sweep could be trained.
    """
    from fer_tune.sources.run import observers_of, open_store, prepare
    from fer_tune.sources.workers import open_pool

    observer = _Noting(note)
    observers = observers_of(settings, observer)
    patience = max((sweep.limits.storage_patience for sweep in sweeps), default=0.0)
    devices = tuple(options.chosen.devices(options.devices, options.workers))
    plans = []
    with ExitStack() as stack:
        store = stack.enter_context(open_store(settings, patience, note))

        @cache
        def pool() -> Pool:
            opened = open_pool(settings, options, patience, note, trainer=trainer)
            stack.callback(opened.close)
            return opened

        for sweep in sweeps:
            search = prepare(sweep, settings, store, held=stack, options=options, observers=observers)
            before = search.spending.so_far()
            shape = shape_of(sweep, before, len(devices))
            if why := _why_nothing(search, shape):
                plans.append(_no_plan(sweep, devices, why))
            else:
                lanes = options.lanes or sweep.lanes
                pace = _pace(sweep, search, store, devices, lanes=lanes, pool=pool)
                shape = replace(shape, slots=pace.lanes * len(devices))
                shape = placed(devices, shape, head_start=lanes == "auto", probed=pace.probed)
                plans.append(_plan(sweep, search, pace, devices, shape=shape, before=before))
            planned(plans[-1])
    return plans


def _pace(
    sweep: Sweep, search: Search, store: Store, devices: tuple[str, ...], *, lanes: Lanes, pool: Callable[[], Pool]
) -> TrialPace:
    """Returns the pace of earlier trials, and of a probe if the sweep could draw few of them.

    Args:
        pool: opens the workers for a probe, or returns those that are open.

    Raises:
        TrainingError: there are no earlier trials, and none of the probe could be trained.
    """
    pace = recorded_pace(store, sweep, search.record, devices)
    if pace is None or len(pace.drawable) < ENOUGH:
        pace = _joined(pace, probed_pace(sweep, pool(), search.data, lanes, store.root / LANES_FILE))
    if pace is None:
        raise TrainingError(
            f"{sweep.study}: no configuration of the sweep could be trained for one epoch.",
            "`fer-tune run` shows why its trials fail.",
        )
    return pace


def _joined(earlier: TrialPace | None, probed: TrialPace | None) -> TrialPace | None:
    """Returns the pace of a probe, with that of the earlier trials that the sweep could draw."""
    if earlier is None or probed is None:
        return earlier or probed
    if not (drawable := earlier.drawable):
        return probed
    source = f"{earlier_trials(len(drawable))} and {probed.source}"
    return replace(earlier, trials=(*drawable, *probed.trials), source=source, probed=True)


def _plan(
    sweep: Sweep,
    search: Search,
    pace: TrialPace,
    devices: tuple[str, ...],
    *,
    shape: Shape,
    before: Mapping[str, float],
) -> SweepPlan:
    found = forecast(shape, pace, search.rehearsed(pace, alone=shape.slots == 1))
    if may_end_early(sweep) and not pace.lengths:
        found = replace(found, reached={})
    plan = SweepPlan(
        study=sweep.study,
        devices=devices,
        pace=pace,
        forecast=found,
        seconds=found.wall_seconds,
        patience=sweep.budget.patience,
    )
    expected = {"device_seconds": asdict(found.device_seconds), "started": asdict(found.started)}
    search.spending.keep_plan({"before": dict(before), "budget": sweep.budget.model_dump(mode="json")} | expected)
    return plan


def placed(devices: tuple[str, ...], shape: Shape, *, head_start: bool, probed: bool) -> Shape:
    """Returns the search on these devices.

    Args:
        shape: with its slots on all of them.
        head_start: whether each device trains in one lane first.
        probed: whether some of the pace was measured by a probe.
    """
    lanes = shape.slots > len(devices)
    shape = replace(shape, devices=len(devices), drift=PROBED_DRIFT if probed and lanes else DRIFT)
    if devices[0] == "cpu":
        return shape
    start = GPU_START + HEAD_START_COSTS * (head_start and lanes)
    return replace(shape, start=start * len(devices), overlap=overlap_of(devices[0]))


def _why_nothing(search: Search, shape: Shape) -> str:
    """Returns why a run would start no trial; an empty text if it would start one."""
    if shape.capacity <= 0:
        return USED_UP
    over = search.patience_is_over()
    if shape.trials > 0 and not over:
        return ""
    if search.begun():
        return ONLY_CONTINUES
    return OUT_OF_PATIENCE if over else USED_UP


def _no_plan(sweep: Sweep, devices: tuple[str, ...], why: str) -> SweepPlan:
    none = ForecastRange(0.0, 0.0, 0.0)
    return SweepPlan(sweep.study, devices, TrialPace(()), Forecast(none, none, none, {}), none, nothing=why)


def shape_of(sweep: Sweep, before: Mapping[str, float], devices: int) -> Shape:
    """Returns the search that is still to come.

    Args:
        before: `device_seconds` and `started` trials of earlier runs.
    """
    budget = sweep.budget
    capacity = math.inf if budget.hours is None else 3600 * budget.hours * devices
    if budget.gpu_hours is not None:
        capacity = min(capacity, max(0.0, 3600 * budget.gpu_hours - before["device_seconds"]))
    rungs = levels_of(sweep)[:-1] if sweep.search.strategy == "promote" else []
    trials = max(0, budget.trials - int(before["started"]))
    return Shape(budget.epochs, tuple(rungs), sweep.search.factor, trials, capacity)


class _Noting(Observer):
    """Passes notes on."""

    def __init__(self, note: Callable[[str], object]) -> None:
        self._note = note

    def note(self, text: str) -> None:
        self._note(text)
