"""A run of sweeps: its workers, its store and its observers, and its studies one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fer_tune.data.spec import DataRef
from fer_tune.errors import PoolError, StudyError
from fer_tune.jobs.observers import Observer, Observers
from fer_tune.jobs.outcome import RunOutcome, StudyOutcome
from fer_tune.jobs.signals import Signals
from fer_tune.jobs.supervision import Limits
from fer_tune.mirror import Mode
from fer_tune.pool import Pool
from fer_tune.pool.devices import Count
from fer_tune.pool.engines import EngineName, engine
from fer_tune.pool.port import TrainerFactory, load_trainer
from fer_tune.settings import Settings
from fer_tune.sources.forecast import warning

if TYPE_CHECKING:  # imported where they are used, while the workers start: SQLAlchemy and Optuna take a second
    from fer_tune.sources.search import Search
    from fer_tune.store import Patience, Store
    from fer_tune.sweep.schema import Sweep


@dataclass(frozen=True)
class RunOptions:
    """How jobs are trained. What is trained is in the sweep or the request.

    Attributes:
        workers: how many, or None or `auto`; see `pool.choose_devices`.
        devices: `cpu`, `cuda`, `cuda:0,cuda:1`, or None or `auto`.
        engine: `local` trains in worker processes, `inline` in this one (one worker unless told
            otherwise).
        wandb: the mirror's mode; None lets the mirror choose.
    """

    workers: Count | None = None
    devices: str | None = None
    engine: EngineName = "local"
    wandb: Mode | None = None


def run_sweeps(
    sweeps: Sequence[Sweep],
    settings: Settings,
    options: RunOptions | None = None,
    observer: Observer | None = None,
    trainer: TrainerFactory = load_trainer,
) -> RunOutcome:
    """Runs sweeps one after another on the same workers, each until its budget is met.

    Every study is locked, its data loaded and its sweep compared before the first trial starts, so
    that what is wrong with the last sweep is said at once. Meanwhile the workers import torch. A
    study that exists is continued. Ctrl-C ends the run and keeps what was finished; a second one
    ends it at once.

    Args:
        observer: hears what happens, such as a display. A failure of it does not end the run.

    Raises:
        SettingsError, DataError, StudyError, StorageError: a sweep cannot be run as it is.
        PoolError: workers cannot be started, or keep dying; running trials are queued again.
    """
    from fer_tune.jobs.runner import Runner

    options = options or RunOptions()
    _refuse_twins(sweeps)
    observers = observers_of(settings, observer)
    patience = max((sweep.limits.storage_patience for sweep in sweeps), default=0.0)
    outcomes: list[StudyOutcome] = []
    signals = Signals()
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        stack.enter_context(observers)
        pool = open_pool(settings, options, patience, observers.note, trainer=trainer)
        stack.callback(pool.close)
        store = stack.enter_context(open_store(settings, patience, observers.note))
        searches = [
            _prepare(sweep, settings, store, held=stack, options=options, observers=observers) for sweep in sweeps
        ]
        watch_results(observers, store, settings, options)
        signals.hurry = store.patiently.hurry
        stack.enter_context(signals.heard())
        for sweep, search in zip(sweeps, searches, strict=True):
            store.patiently.seconds = sweep.limits.storage_patience
            outcome = Runner(search, pool, store, observers, signals, limits_of(sweep)).run()
            observers.study_closed(outcome)
            outcomes.append(outcome)
            if signals.requested:
                break
        return RunOutcome(tuple(outcomes), signals.requested)
    observers.note("The run was ended at once. The same command continues from the last checkpoints.")
    return RunOutcome(tuple(outcomes), interrupted=True)


def limits_of(sweep: Sweep) -> Limits:
    """Returns when a run of this sweep stops waiting."""
    limits = sweep.limits
    return Limits(limits.hang_timeout, limits.trial_timeout, sweep.retries, sweep.budget.hours)


def observers_of(settings: Settings, observer: Observer | None) -> Observers:
    """Returns the list of a run's observers, to begin with the caller's."""
    return Observers([observer] if observer is not None else [], settings.logs / "observers.log")


def watch_results(observers: Observers, store: Store, settings: Settings, options: RunOptions) -> None:
    """Adds the observers that copy results elsewhere: the dashboard's notes, and the mirrors."""
    from fer_tune.dashboard.observer import DashboardNotes
    from fer_tune.mirror.supervisor import supervisors

    observers.add(DashboardNotes(settings))
    for supervisor in supervisors(settings, options.wandb, observers.note):
        observers.add(supervisor)


def open_pool(
    settings: Settings,
    options: RunOptions,
    patience: float,
    note: Callable[[str], object],
    *,
    trainer: TrainerFactory = load_trainer,
    most: int | None = None,
) -> Pool:
    """Starts the workers.

    Args:
        patience: seconds to wait for a disk that takes no logs.
        most: how many workers have something to do; None is no limit.

    Raises:
        SettingsError: there is no such device, or the number of workers is not valid.
        PoolError: no worker can be started.
    """

    def work() -> Pool:
        chosen = engine(options.engine)
        return chosen.make(chosen.devices(options.devices, options.workers)[:most], settings.logs, trainer)

    try:
        return work()
    except PoolError:  # perhaps the disk that holds the logs: waited for as everywhere, and only then
        return _patience(settings, patience, note)(work)


def open_store(settings: Settings, patience: float, note: Callable[[str], object]) -> Store:
    """Opens the database for a run, which waits for it `patience` seconds and says so."""
    from fer_tune.store import Store

    return Store.of(settings, patience=_patience(settings, patience, note), note=note)


def _refuse_twins(sweeps: Sequence[Sweep]) -> None:
    files: dict[str, Sweep] = {}
    for sweep in sweeps:
        if sweep.study in files:
            raise StudyError(
                f"{files[sweep.study].path} and {sweep.path} both describe the study {sweep.study}.",
                "Give one of them another name (study: ...), or run one of them.",
            )
        files[sweep.study] = sweep


def _patience(settings: Settings, seconds: float, note: Callable[[str], object]) -> Patience:
    from fer_tune.store import Patience

    return Patience(settings.url, seconds, note, run=True)


def _prepare(
    sweep: Sweep, settings: Settings, store: Store, *, held: ExitStack, options: RunOptions, observers: Observers
) -> Search:
    """Locks, loads, splits, opens: all that can be refused, in the order of what is refused
    fastest."""
    from fer_tune.data.load import load_faces
    from fer_tune.data.splits import reference, store_split
    from fer_tune.sources.search import Search
    from fer_tune.store import StudyLock
    from fer_tune.study import Study

    lock = store.patiently(StudyLock(settings, settings.url, sweep.study).acquire)
    held.callback(lock.release)
    dataset = store.patiently(
        lambda: load_faces(sweep.data, settings, observers.note, side=sweep.side, channels=sweep.channels)
    )
    stored = store.patiently(lambda: store_split(dataset, sweep.split, settings))
    data: DataRef = reference(dataset, stored, settings)
    study = Study.open(sweep, store, data, stored.counts)
    chosen = engine(options.engine)
    devices = chosen.devices(options.devices, options.workers)
    at_once = devices if chosen.parallel else devices[:1]
    if said := warning(sweep, data.spec, stored.counts.get("train", 0), at_once):
        observers.note(said)
    mirrored = options.wandb != "disabled"
    return Search(sweep, study, data, store, settings=settings, lock=lock, mirrored=mirrored, note=observers.note)
