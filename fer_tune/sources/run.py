"""A run: what it stands on, and its studies one after another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fer_tune.data.spec import DataRef
from fer_tune.errors import PoolError, StudyError
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import RunOutcome, StudyOutcome
from fer_tune.jobs.runner import Turn
from fer_tune.jobs.signals import Signals
from fer_tune.mirror import Mode
from fer_tune.mirror.supervisor import MirrorSupervisor
from fer_tune.pool import InlinePool, LocalPool, Pool
from fer_tune.pool.devices import Count, choose_devices
from fer_tune.pool.port import TrainerFactory, load_trainer
from fer_tune.settings import Settings
from fer_tune.sources.search import Trials

if TYPE_CHECKING:  # imported where they are used, while the workers start: SQLAlchemy and Optuna take a second
    from fer_tune.store import Patience, Store, StudyLock
    from fer_tune.study import Study
    from fer_tune.sweep.schema import Sweep


@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out; what is searched stands in the sweep.

    Attributes:
        workers: how many, or None or `auto`; see `pool.choose_devices`.
        devices: `cpu`, `cuda`, `cuda:0,cuda:1`, or None or `auto`.
        engine: `local` trains in worker processes, `inline` in this one (one worker unless told otherwise).
        wandb: the mirror's mode; None lets the mirror choose.
    """

    workers: Count | None = None
    devices: str | None = None
    engine: Literal["local", "inline"] = "local"
    wandb: Mode | None = None


def run_sweeps(
    sweeps: Sequence[Sweep],
    settings: Settings,
    options: RunOptions | None = None,
    watch: Observer | None = None,
    trainer: TrainerFactory = load_trainer,
) -> RunOutcome:
    """Runs sweeps one after another over the same workers, each until its budget is met.

    Every study is locked, its data loaded and its sweep compared before the first trial starts, so that what is
    wrong with the last sweep is said at once; meanwhile the workers import torch. A study that exists is continued.
    Ctrl-C ends the run with what was finished kept; a second one ends it at once.

    Raises:
        SettingsError, DataError, StudyError, StorageError: a sweep cannot be run as it is.
        PoolError: workers cannot be started, or keep dying; running trials are queued again.
    """
    options, watch = options or RunOptions(), watch or Observer()
    _refuse_twins(sweeps)
    outcomes: list[StudyOutcome] = []
    interrupt = Signals()
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        pool = _open_pool(sweeps, settings, options, watch, trainer)
        stack.callback(pool.close)
        store = stack.enter_context(_open_store(sweeps, settings, watch))
        turns = [_prepare(sweep, settings, store, stack, watch) for sweep in sweeps]
        interrupt.hurry = store.patiently.hurry
        stack.enter_context(interrupt.heard())
        for sweep, study, data, lock in turns:
            store.patiently.seconds = sweep.limits.storage_patience
            with MirrorSupervisor(settings, options.wandb, watch.note) as mirror:
                mirror.study_opened(sweep)
                trials = Trials(sweep, study, data, store, settings, watch, lock)
                outcomes.append(Turn(trials, pool, mirror, watch, interrupt).run())
                mirror.study_closed(outcomes[-1])
            if interrupt.requested:
                break
        return RunOutcome(tuple(outcomes), interrupt.requested)
    watch.note("The run was ended at once. The same command goes on from the last checkpoints.")
    return RunOutcome(tuple(outcomes), interrupted=True)


def _refuse_twins(sweeps: Sequence[Sweep]) -> None:
    files: dict[str, Sweep] = {}
    for sweep in sweeps:
        if sweep.study in files:
            raise StudyError(
                f"{files[sweep.study].path} and {sweep.path} both describe the study {sweep.study}.",
                "Give one of them another name (study: ...), or run one of them.",
            )
        files[sweep.study] = sweep


def _open_pool(
    sweeps: Sequence[Sweep], settings: Settings, options: RunOptions, watch: Observer, trainer: TrainerFactory
) -> Pool:
    def work() -> Pool:
        if options.engine == "inline":
            workers = 1 if options.workers in (None, "auto") else options.workers
            return InlinePool(choose_devices(options.devices, workers), trainer)
        return LocalPool(choose_devices(options.devices, options.workers), settings.logs, trainer)

    try:
        return work()
    except PoolError:  # perhaps the disk that holds the logs: waited for as everywhere, and only then
        return _patience(sweeps, settings, watch)(work)


def _open_store(sweeps: Sequence[Sweep], settings: Settings, watch: Observer) -> Store:
    from fer_tune.store import Store

    return Store.of(settings, patience=_patience(sweeps, settings, watch))


def _patience(sweeps: Sequence[Sweep], settings: Settings, watch: Observer) -> Patience:
    """A run waits for its storage, and says so."""
    from fer_tune.store import Patience

    seconds = max((sweep.limits.storage_patience for sweep in sweeps), default=0.0)
    return Patience(settings.url, seconds, watch.note, run=True)


def _prepare(
    sweep: Sweep, settings: Settings, store: Store, held: ExitStack, watch: Observer
) -> tuple[Sweep, Study, DataRef, StudyLock]:
    """Locks, loads, splits, opens: all that can be refused, in the order of what is refused fastest."""
    from fer_tune.data.load import load_faces
    from fer_tune.data.splits import reference, store_split
    from fer_tune.store import StudyLock
    from fer_tune.study import Study

    lock = store.patiently(StudyLock(settings, settings.url, sweep.study).acquire)
    held.callback(lock.release)
    faces = store.patiently(lambda: load_faces(sweep.data, settings, watch.note))
    stored = store.patiently(lambda: store_split(faces, sweep.split, settings))
    data = reference(faces, stored, settings)
    return sweep, Study.open(sweep, store, data, stored.counts), data, lock
