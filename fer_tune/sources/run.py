"""A run of sweeps: opens workers, store and observers, and runs one study after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from fer_tune.data.spec import DataRef
from fer_tune.errors import StudyError
from fer_tune.files import remove_drafts
from fer_tune.jobs.limits import Limits
from fer_tune.jobs.observers import Observer, Observers
from fer_tune.jobs.outcome import RunOutcome, StudyOutcome
from fer_tune.jobs.signals import Signals
from fer_tune.pool import Pool
from fer_tune.pool.port import TrainerFactory, load_trainer
from fer_tune.settings import Settings
from fer_tune.sources.workers import RunOptions, open_pool, patience_of

if TYPE_CHECKING:  # imported later, while the workers start, because SQLAlchemy and Optuna take a second
    from fer_tune.sources.search import Search
    from fer_tune.store import Store, StudyRecord
    from fer_tune.sweep.schema import Sweep


def run_sweeps(
    sweeps: Sequence[Sweep],
    settings: Settings,
    options: RunOptions | None = None,
    observer: Observer | None = None,
    trainer: TrainerFactory = load_trainer,
    *,
    pool: Pool | None = None,
) -> RunOutcome:
    """Runs sweeps one after another on the same workers, each until its budget is met.

    Before the first trial starts, it locks every study, loads its data and compares its sweep with
    the recorded one. So a mistake in the last sweep is reported at once. Meanwhile the workers
    import torch. A study that exists is continued. The first Ctrl-C ends the run after the present
    epochs and keeps their results; a second one ends it at once.

    Args:
        observer: is called for everything that happens, such as a display. If it fails, the run
            continues without it.
        trainer: makes what trains the jobs. Tests replace it.
        pool: workers that were started before; see `workers.started`. The run ends them.

    Returns:
        The outcome of each study that was begun.

    Raises:
        SettingsError, DataError, StudyError, StorageError: a sweep cannot be run as it is.
        PoolError: workers cannot be started, or keep dying. Running trials are queued again.
        TrainingError: every job fails.
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
        if pool is None:
            pool = open_pool(settings, options, patience, observers.note, trainer=trainer)
        stack.callback(pool.close)
        for sweep in sweeps:
            for remark in sweep.notes:
                observers.note(f"{sweep.study}: {remark}")
        store = stack.enter_context(open_store(settings, patience, observers.note))
        searches = [
            prepare(sweep, settings, store, held=stack, options=options, observers=observers) for sweep in sweeps
        ]
        if trainer is load_trainer:
            _warn_of_slow_epochs(sweeps, searches, store, options, observers)
        watch_results(observers, store, settings, options)
        signals.hurry = store.patiently.hurry
        stack.enter_context(signals.handled())
        for sweep, search in zip(sweeps, searches, strict=True):
            store.patiently.seconds = sweep.limits.storage_patience
            limits = limits_of(sweep, search.spending.device_seconds)
            outcome = Runner(search, pool, store, observers, signals, limits, options.lanes or sweep.lanes).run()
            observers.study_closed(outcome)
            outcomes.append(outcome)
            if signals.requested:
                break
        return RunOutcome(tuple(outcomes), signals.requested)
    observers.note("The run was ended at once. The same command continues from the last checkpoints.")
    return RunOutcome(tuple(outcomes), interrupted=True)


def limits_of(sweep: Sweep, spent: Callable[[], float] = lambda: 0.0) -> Limits:
    """Returns the time limits of a run of this sweep.

    Args:
        spent: see `Limits.spent`.
    """
    limits, budget = sweep.limits, sweep.budget
    return Limits(limits.hang_timeout, limits.trial_timeout, sweep.retries, budget.hours, budget.gpu_hours, spent)


def recorded_limits(record: StudyRecord) -> Limits:
    """Returns the limits of jobs that follow a study's search: its retries, and otherwise the
    defaults."""
    return Limits(retries=int(record.sweep_json.get("retries", Limits().retries)))


def observers_of(settings: Settings, observer: Observer | None) -> Observers:
    """Returns the list of a run's observers, with the caller's as its first member."""
    return Observers([observer] if observer is not None else [], settings.logs / "observers.log")


def watch_results(observers: Observers, store: Store, settings: Settings, options: RunOptions) -> None:
    """Adds the observers that copy results: the notes for optuna-dashboard, and the mirrors."""
    from fer_tune.dashboard.observer import DashboardNotes
    from fer_tune.mirror.supervisor import supervisors

    observers.add(DashboardNotes(settings))
    for supervisor in supervisors(settings, options.wandb, observers):
        observers.add(supervisor)


def open_store(settings: Settings, patience: float, note: Callable[[str], object]) -> Store:
    """Opens the database for a run.

    Args:
        patience: seconds that the run waits for the database, here and later.
        note: is called with one line when it must wait.

    Raises:
        StorageError: the database cannot be used, or belongs to another storage folder.
    """
    from fer_tune.store import Store, claim

    store = Store.of(settings, patience=patience_of(settings, patience, note), note=note)
    try:
        store.patiently(lambda: claim(store))
        _remove_drafts(settings)
    except BaseException:
        store.close()
        raise
    return store


def _remove_drafts(settings: Settings) -> None:
    """Removes files that killed processes were writing."""
    remove_drafts(settings.root, below=False)
    for folder in (settings.cache, settings.artifacts, settings.checkpoints):
        remove_drafts(folder)


def _refuse_twins(sweeps: Sequence[Sweep]) -> None:
    files: dict[str, Sweep] = {}
    for sweep in sweeps:
        if sweep.study in files:
            raise StudyError(
                f"{files[sweep.study].path} and {sweep.path} both describe the study {sweep.study}.",
                "Give one of them another study name (`study: NAME` in the file), or run only one of them.",
            )
        files[sweep.study] = sweep


def prepare(
    sweep: Sweep, settings: Settings, store: Store, *, held: ExitStack, options: RunOptions, observers: Observers
) -> Search:
    """Locks the study, loads and splits its data, and opens it.

    The fastest checks come first.

    Args:
        held: releases the lock when it closes.
    """
    from fer_tune.data.load import load_faces
    from fer_tune.data.splits import reference, store_split
    from fer_tune.models.families import keep
    from fer_tune.sources.search import Search
    from fer_tune.store import StudyLock
    from fer_tune.study import Study

    lock = store.patiently(StudyLock(settings, settings.url, sweep.study).acquire)
    held.callback(lock.release)
    store.patiently(lambda: keep(sweep.family, settings))
    dataset = store.patiently(
        lambda: load_faces(sweep.data, settings, observers.note, side=sweep.side, channels=sweep.channels)
    )
    stored = store.patiently(lambda: store_split(dataset, sweep.split, settings))
    data: DataRef = reference(dataset, stored, settings)
    study = Study.open(sweep, store, data, stored.counts, lambda text: observers.note(f"{sweep.study}: {text}"))
    mirrored = options.wandb != "disabled"
    return Search(
        sweep, study, data, store,
        settings=settings, lock=lock, mirrored=mirrored, note=observers.note,
        auto_lanes=(options.lanes or sweep.lanes) == "auto",
    )  # fmt: skip


def _warn_of_slow_epochs(
    sweeps: Sequence[Sweep], searches: Sequence[Search], store: Store, options: RunOptions, observers: Observers
) -> None:
    from fer_tune.sources.forecast import warning

    chosen = options.chosen
    devices = chosen.devices(options.devices, options.workers)
    at_once = devices if chosen.parallel else devices[:1]
    for sweep, search in zip(sweeps, searches, strict=True):
        if said := warning(store, sweep, search.record, at_once):
            observers.note(said)
