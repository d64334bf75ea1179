"""Plays fer-tune's own search on a simulated trainer: the real source, runner and store.

    from benchmarks.search.play import play
    trace = play(sweep, simulator, seed=3, slots=8, seconds=224)

Only the workers and the clock are not real. A study of 224 H100-seconds takes seconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.search.clock import VirtualClock
from benchmarks.search.pool import SimulatedPool
from benchmarks.search.poor import poor_shares
from benchmarks.search.simulator import Simulator
from benchmarks.search.trace import Trace
from fer_tune.data.spec import DataRef
from fer_tune.job import EpochRow, Job
from fer_tune.jobs.limits import Limits
from fer_tune.jobs.observers import Observer, Observers
from fer_tune.jobs.runner import Runner
from fer_tune.jobs.signals import Signals
from fer_tune.settings import Settings, sqlite_url
from fer_tune.sources.search import Search
from fer_tune.store import Store, StudyLock
from fer_tune.study import Study
from fer_tune.sweep import Sweep
from fer_tune.sweep.rung_levels import levels_of

MEMORY = Path("/dev/shm")
"""A folder in memory, if the machine has it: the database of a simulated study is thrown away."""

TRIALS = 100_000
"""More than a study can start. The seconds end it."""


class _Recorder(Observer):
    """Notes what the search has seen."""

    def __init__(self, simulator: Simulator, clock: VirtualClock) -> None:
        self.trace = Trace()
        self._simulator, self._clock = simulator, clock

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        if not replayed:
            with self._clock.excluded():
                self.trace.saw(self._simulator, self._clock(), job.params, value)

    def job_started(self, job: Job, *_: object) -> None:
        self.trace.jobs += job.attempt == 0


def play(
    sweep: Sweep,
    simulator: Simulator,
    *,
    seed: int,
    seconds: float,
    slots: int = 1,
    slowness: float = 1.0,
    own: bool = True,
    folder: Path | None = None,
    workers: type[SimulatedPool] = SimulatedPool,
) -> Trace:
    """Runs a sweep for so many seconds of the simulation, and returns what it found.

    Args:
        sweep: its sampler, pruner, search, priors and start configurations are what is measured.
        seed: of the sampler and of the trials.
        slots: workers.
        slowness: how many times longer an epoch takes because the slots share a device.
        own: whether the orchestrator's processor time counts.
        folder: where the database goes; by default a temporary folder, in memory if possible.
        workers: the class of the simulated pool.
    """
    changed = {"trials": TRIALS, "hours": seconds / 3600}
    sweep = replace(
        sweep, seed=seed, sampler=replace(sweep.sampler, seed=None), budget=sweep.budget.model_copy(update=changed)
    )
    with temporary_folder(folder) as root:
        settings = Settings(root, sqlite_url(root / "fer_tune.db"))
        with Store.of(settings) as store, opened(sweep, store, settings) as search:
            clock = VirtualClock(own)
            recorder = _Recorder(simulator, clock)
            pool = workers(simulator, clock, slots, slowness)
            limits = Limits(hang_timeout=1e9, job_timeout=None, retries=0, hours=sweep.budget.hours)
            observers = Observers([recorder], settings.logs / "observers.log")
            Runner(search, pool, store, observers, Signals(), limits, clock=clock).run()
            if (settings.logs / "observers.log").exists():
                raise AssertionError((settings.logs / "observers.log").read_text(encoding="utf-8"))
            spent, poor = clock.own_seconds, poor_shares(store, sweep.study, levels_of(sweep)[:-1])
        trace = recorder.trace
        trace.own_seconds = spent
        trace.facts = {"trained_seconds": round(pool.trained, 1), **poor}
        return trace


def play_many(sweep: Sweep, simulator: Simulator, seeds: Sequence[int], **options: object) -> list[Trace]:
    """Returns a trace for each seed. The options are those of `play`."""
    return [play(sweep, simulator, seed=seed, **options) for seed in seeds]  # type: ignore[arg-type]


@contextmanager
def opened(sweep: Sweep, store: Store, settings: Settings) -> Iterator[Search]:
    """Opens the search of a sweep, on images that do not exist: nobody opens them."""
    data = DataRef(settings.root / "cache", "simulated", settings.root / "split", "simulated")
    with StudyLock(settings, settings.url, sweep.study) as lock:
        study = Study.open(sweep, store, data, {"train": 1, "val": 1, "test": 1})
        yield Search(sweep, study, data, store, settings=settings, lock=lock, mirrored=False)


@contextmanager
def temporary_folder(given: Path | None = None) -> Iterator[Path]:
    """Gives a new folder and removes it at the end. It is in memory, if possible.

    Args:
        given: gives this one, and keeps it.
    """
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="fer-tune-play-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)
