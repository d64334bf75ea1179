"""A run: what it stands on, and its studies one after another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fer_tune.errors import StudyError
from fer_tune.mirror import Mode
from fer_tune.orchestrator.interrupt import Interrupt
from fer_tune.orchestrator.mirroring import mirrored
from fer_tune.orchestrator.outcome import RunOutcome, StudyOutcome
from fer_tune.orchestrator.trials import Trials
from fer_tune.orchestrator.turn import Turn
from fer_tune.orchestrator.watch import Watch
from fer_tune.pool import InlinePool, LocalPool, Pool
from fer_tune.pool.devices import Count, choose_devices
from fer_tune.pool.port import TrainerFactory, load_trainer
from fer_tune.settings import Settings
from fer_tune.trial import DataRef

if TYPE_CHECKING:  # imported where they are used, while the workers start: SQLAlchemy and Optuna take a second
    from fer_tune.store import Store
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
    watch: Watch | None = None,
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
    options, watch = options or RunOptions(), watch or Watch()
    _refuse_twins(sweeps)
    outcomes: list[StudyOutcome] = []
    interrupt = Interrupt()
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        pool = _open_pool(settings, options, trainer)
        stack.callback(pool.close)
        from fer_tune.store import Store

        store = stack.enter_context(Store.of(settings))
        store.waiting = watch.note
        turns = [_prepare(sweep, settings, store, stack, watch) for sweep in sweeps]
        stack.enter_context(interrupt.heard())
        for sweep, study, data in turns:
            with mirrored(settings, sweep.study, options.wandb, watch, interrupt):
                trials = Trials(sweep, study, data, store, settings, watch)
                outcomes.append(Turn(trials, pool, watch, interrupt).run())
            if interrupt.requested:
                break
        return RunOutcome(tuple(outcomes), interrupt.requested)
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


def _open_pool(settings: Settings, options: RunOptions, trainer: TrainerFactory) -> Pool:
    if options.engine == "inline":
        workers = 1 if options.workers in (None, "auto") else options.workers
        return InlinePool(choose_devices(options.devices, workers), trainer)
    return LocalPool(choose_devices(options.devices, options.workers), settings.logs, trainer)


def _prepare(
    sweep: Sweep, settings: Settings, store: Store, held: ExitStack, watch: Watch
) -> tuple[Sweep, Study, DataRef]:
    """Locks, loads, splits, opens: all that can be refused, in the order of what is refused fastest."""
    from fer_tune.data.load import load_faces
    from fer_tune.data.splits import reference, store_split
    from fer_tune.store import StudyLock
    from fer_tune.study import Study

    held.enter_context(StudyLock(settings, settings.url, sweep.study))
    faces = load_faces(sweep.data, settings, watch.note)
    stored = store_split(faces, sweep.split, settings)
    data = reference(faces, stored, settings)
    return sweep, Study.open(sweep, store, data, stored.counts), data
