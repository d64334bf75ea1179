"""The run of one or several sweeps: the only wiring of sweep, study, pool, store and mirror.

The orchestrator is the one process that asks, tells and writes. It gives each idle worker a
trial, keeps every row that comes back, asks the pruner once for each epoch, and tells how
each trial ended. It neither trains nor imports torch.

What becomes of a trial:

    its worker says         the study is told
    ──────────────────────────────────────────────────────────────────────────────────
    completed               complete, with its best epoch's objective
    (pruned meanwhile)      pruned, with the last value reported; later rows are ignored
    diverged                pruned, with the last finite value and the reason
    failed                  failed, with the reason; the traceback lies in the store
    nothing: it died        goes on from its checkpoint on a fresh worker, `retries` times, then failed
    nothing for too long    its worker is ended and it goes on on a fresh one, once, then failed
    (the hours are over)    pruned, reason `time`, if it finished an epoch; else queued again
    (Ctrl-C, SIGTERM)       queued again: the same configuration comes first in the next run

`--hours` is a limit and not a wish: at the deadline running trials are stopped, not awaited.
Queued again means a new trial of the same configuration; the interrupted one does not count, and after Ctrl-C the
new one goes on from its checkpoint. So a checkpoint belongs to a configuration's seed, which all its trials share.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from fer_tune import mirror
from fer_tune.errors import FerTuneError, StudyError, TrainingError
from fer_tune.mirror import Mode
from fer_tune.pool import EndEvent, Event, InlinePool, LocalPool, LostEvent, Pool, ReadyEvent, RowEvent, WorkerInfo
from fer_tune.pool.devices import Count, choose_devices
from fer_tune.pool.port import TrainerFactory, load_trainer
from fer_tune.settings import Settings
from fer_tune.trial import DataRef, EpochRow, TrialEnd, TrialSpec

if (
    TYPE_CHECKING
):  # imported where they are used, once the workers are on their way: SQLAlchemy and Optuna take a second
    from fer_tune.store import Store
    from fer_tune.study import Counts, Proposal, Study
    from fer_tune.sweep.schema import Sweep

TICK = 0.2
"""Seconds that the orchestrator waits for workers at most before it looks at the clock and at signals."""

MIRROR_GRACE = 30.0
"""Seconds that the mirror has, after a study's last trial, to copy what is left."""

MIRROR_GRACE_INTERRUPTED = 2.0
"""The same after Ctrl-C; what is left then, `fer-tune sync` or the next run copies."""

KEEP_GRACE = 10.0
"""Seconds that workers have after Ctrl-C to leave their checkpoints."""

HANG_FACTOR = 20.0
HANG_FLOOR = 300.0
HANG_FIRST = 3600.0
"""A trial is taken for hung after `HANG_FACTOR` times the run's slowest epoch without a row, and not before
`HANG_FLOOR` seconds; while no epoch was measured, after `HANG_FIRST`."""

HOPELESS = 5
"""So many failures in a row, and nothing but failures, end the run."""

State = Literal["complete", "pruned", "failed", "requeued"]


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


@dataclass(frozen=True)
class Ended:
    """A trial's end, for a watch.

    Attributes:
        value: the objective that was told: the best epoch's, or the last one's if it did not complete; None if none.
        epochs: epochs recorded in its last attempt.
        seconds: what these took.
    """

    number: int
    state: State
    value: float | None
    reason: str
    epochs: int
    seconds: float


@dataclass(frozen=True)
class StudyOutcome:
    """Where a study stands when the run leaves it.

    Attributes:
        counts: of all its trials, those of earlier runs included.
        best, value: number and objective of the best completed trial; None if none completed.
        reason: why the run left it.
    """

    study: str
    counts: Counts
    best: int | None
    value: float | None
    reason: Literal["budget", "hours", "interrupted"]


@dataclass(frozen=True)
class RunOutcome:
    """What a run came to; `interrupted` by Ctrl-C or SIGTERM, after which later sweeps were not begun."""

    studies: tuple[StudyOutcome, ...] = ()
    interrupted: bool = False

    @property
    def completed(self) -> int:
        """Completed trials in all its studies."""
        return sum(outcome.counts.complete for outcome in self.studies)


class Watch:
    """Is told what happens; this one does nothing. A display overrides what it shows, and returns quickly.

    Also a context manager, so that a display can open and close.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def note(self, text: str) -> None:
        """Something that the user should know, one line."""

    def study_opened(self, sweep: Sweep, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        """A study's turn begins; `counts` are those of earlier runs."""

    def worker_ready(self, worker: WorkerInfo) -> None:
        """A worker, first or fresh, can take a trial."""

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        """A worker died; a fresh one is being started in its place."""

    def trial_started(self, spec: TrialSpec, worker: WorkerInfo, name: str | None) -> None:
        """A worker was given a trial or, with `spec.attempt` > 0, another try of it; `name` is its label in `start`."""

    def epoch(self, spec: TrialSpec, row: EpochRow, value: float) -> None:
        """A trial finished an epoch; `value` is its objective."""

    def trial_ended(self, spec: TrialSpec, ended: Ended) -> None:
        """A trial is over, and the study told."""

    def study_closed(self, outcome: StudyOutcome) -> None:
        """A study's turn is over."""


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
            with _mirrored(settings, sweep.study, options.wandb, watch, interrupt):
                turn = _Turn(sweep, study, data, store, pool, settings, watch, interrupt)
                outcomes.append(turn.run())
            if interrupt.requested:
                break
        return RunOutcome(tuple(outcomes), interrupt.requested)
    return RunOutcome(tuple(outcomes), interrupted=True)


class Interrupt:
    """Turns the first SIGINT or SIGTERM into a request, and lets a second one raise KeyboardInterrupt."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listens while the context lasts; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@dataclass
class _Live:
    """A trial that was asked for and is not yet told."""

    spec: TrialSpec
    name: str | None
    worker: WorkerInfo | None = None
    pruned: str = ""
    """Why, decided while it runs: whatever it says from then on is ignored, but for its end."""
    stopping: bool = False
    heard: float = 0.0
    """When its worker was last heard of, by the monotonic clock."""
    hung: int = 0
    last: float | None = None
    """The value reported last, in whichever attempt."""
    rows: list[EpochRow] = field(default_factory=list)
    """Of this attempt."""

    def value(self, row: EpochRow) -> float:
        return float(getattr(row, self.spec.objective))

    @property
    def best(self) -> EpochRow | None:
        finite = [row for row in self.rows if math.isfinite(self.value(row))]
        return max(finite, key=self.value, default=None)

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)


@dataclass
class _Turn:
    """One study's turn on the workers."""

    sweep: Sweep
    study: Study
    data: DataRef
    store: Store
    pool: Pool
    settings: Settings
    watch: Watch
    interrupt: Interrupt
    live: dict[int, _Live] = field(default_factory=dict)
    """By number: trials that were asked for and are not yet told."""
    again: deque[_Live] = field(default_factory=deque)
    """Those among them that lost their worker and wait for another."""
    finished: int = 0
    deadline: float = math.inf
    slowest: float | None = None
    """Seconds of the slowest epoch of this turn."""
    failures: list[str] = field(default_factory=list)
    """Reasons of the failures since the last trial that did not fail."""
    only_failures: bool = True
    """In this turn."""

    def run(self) -> StudyOutcome:
        """Trains until the budget is met, the hours are over, or an interruption."""
        if lost := self.study.reconcile():
            self.watch.note(
                f"{self.sweep.study}: {len(lost)} trials that an earlier run left running are queued again."
            )
        counts = self.study.counts()
        self.finished = counts.finished
        if self.sweep.budget.hours is not None:
            self.deadline = time.monotonic() + 3600 * self.sweep.budget.hours
        self.watch.study_opened(self.sweep, counts, self.pool.workers)
        try:
            reason = self._loop()
        except FerTuneError:
            with suppress(FerTuneError):
                self._requeue_live("the run ended with an error")
            raise
        outcome = self._outcome(reason)
        self.watch.study_closed(outcome)
        return outcome

    def _loop(self) -> Literal["budget", "hours", "interrupted"]:
        while not self.interrupt.requested:
            if time.monotonic() >= self.deadline:
                self._stop_live()
            self._fill()
            if not self.live and not self._may_start():
                return "hours" if self._wants_more() else "budget"
            for event in self.pool.events(TICK):
                self._handle(event)
            self._end_hung()
            self._refuse_hopeless()
        self._leave_checkpoints()
        self._requeue_live("interrupted")
        return "interrupted"

    def _wants_more(self) -> bool:
        return self.finished + len(self.live) < self.sweep.budget.trials

    def _may_start(self) -> bool:
        return self._wants_more() and time.monotonic() < self.deadline

    # -- trials out ---------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Gives each idle worker a trial: one that lost its worker, else a new one."""
        for index in self.pool.idle():
            if self.again:
                live = self.again.popleft()
            elif self._may_start() and not self.interrupt.requested:
                proposal = self.study.ask()
                live = self.live[proposal.number] = _Live(self._spec(proposal), proposal.name)
            else:
                return
            live.worker = self.pool.workers[index]
            live.heard = time.monotonic()
            self.pool.submit(index, live.spec)
            spec = live.spec
            self.store.start_attempt(spec.study, spec.number, spec.attempt, index, live.worker.device, spec.seed)
            self.watch.trial_started(spec, live.worker, live.name)

    def _spec(self, proposal: Proposal) -> TrialSpec:
        sweep = self.sweep
        return TrialSpec(
            study=sweep.study,
            number=proposal.number,
            family=sweep.family,
            params=proposal.params,
            epochs=sweep.budget.epochs,
            seed=proposal.seed,
            data=self.data,
            objective=sweep.objective,
            patience=sweep.patience,
            artifacts=self.settings.artifacts / sweep.study / f"trial-{proposal.number:05d}",
            checkpoint=self.checkpoints / f"{proposal.seed}.safetensors",
        )

    # -- news in ------------------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        match event:
            case ReadyEvent(worker):
                self.watch.worker_ready(self.pool.workers[worker])
            case RowEvent(_, row):
                self._row(self.live[row.number], row)
            case EndEvent(_, end):
                self._end(self.live[end.number], end)
                self._fill()  # before other workers' news: this one waits
            case LostEvent():
                self._lost(event)

    def _row(self, live: _Live, row: EpochRow) -> None:
        live.heard = time.monotonic()
        self.slowest = max(row.seconds, self.slowest or 0.0)
        if live.pruned:
            return
        self.store.add_epoch(live.spec.study, row)
        live.rows.append(row)
        value = live.value(row)
        if math.isfinite(value):
            live.last = value
        if self.study.report(row.number, row.epoch, value):  # of another attempt too: an epoch keeps its first answer
            live.pruned = f"pruned in epoch {row.epoch}"
            self._stop(live)
        self.watch.epoch(live.spec, row, value)

    def _end(self, live: _Live, end: TrialEnd) -> None:
        self.store.end_attempt(live.spec.study, end)
        if live.pruned:
            self._tell(live, "pruned", live.pruned, end)
        elif end.status == "completed" and live.best is not None:
            self._tell(live, "complete", end.reason, end)
        elif end.status == "stopped":
            self._out_of_time(live, end)
        elif end.status == "diverged":
            self._tell(live, "pruned", end.reason, end)
        else:
            self._tell(live, "failed", end.reason or f"{live.spec.objective} was never finite", end)

    def _lost(self, event: LostEvent) -> None:
        self.watch.worker_lost(self.pool.workers[event.worker], event.reason, event.log_tail)
        if event.spec is None:
            return
        live, spec = self.live[event.spec.number], event.spec
        end = TrialEnd(spec.number, spec.attempt, "failed", event.reason, event.log_tail)
        if live.pruned or spec.attempt >= self.sweep.retries or live.hung > 1:
            self._end(live, end)
            return
        self.store.end_attempt(spec.study, end)
        live.spec, live.worker, live.rows = replace(spec, attempt=spec.attempt + 1), None, []
        self.again.append(live)

    def _end_hung(self) -> None:
        """Ends workers from which nothing was heard for too long; their trials are lost, and tried again."""
        patience = HANG_FIRST if self.slowest is None else max(HANG_FLOOR, HANG_FACTOR * self.slowest)
        for live in self.live.values():
            silence = time.monotonic() - live.heard
            # A worker without a process trains in this one: it cannot be silent while we look.
            if live.worker is not None and live.worker.pid is not None and silence > patience:
                live.hung, live.heard = live.hung + 1, math.inf
                self.pool.end_worker(live.worker.index, f"nothing was heard for {silence:.0f} s, so it was ended")

    def _refuse_hopeless(self) -> None:
        """Ends the run where every trial fails.

        Raises:
            TrainingError: the first trials of this turn all failed, or no trial of the study ever completed and the
                last ones failed for one reason.
        """
        row = self.failures[-HOPELESS:]
        if len(row) < HOPELESS:
            return
        if self.only_failures or (len(set(row)) == 1 and self.study.counts().complete == 0):
            raise TrainingError(
                f"{self.sweep.study}: {len(self.failures)} trials in a row failed, the last one with: {row[-1]}",
                f"`fer-tune trials --study {self.sweep.study}` lists the reasons; the same command goes on.",
            )

    # -- ends ---------------------------------------------------------------------------------------------

    def _leave_checkpoints(self) -> None:
        """Lets running trials keep what they have trained, and hears them out."""
        for live in self.live.values():
            if live.worker is not None and not live.pruned:
                live.stopping = True
                self.pool.stop_trial(live.worker.index, keep=True)
        until = time.monotonic() + KEEP_GRACE
        while time.monotonic() < until and any(live.worker is not None for live in self.live.values()):
            for event in self.pool.events(TICK):
                match event:
                    case RowEvent(_, row):
                        self._row(self.live[row.number], row)
                    case EndEvent(_, end) if end.status == "stopped" and not self.live[end.number].pruned:
                        self.store.end_attempt(self.sweep.study, end)
                        self.live[end.number].worker = None
                    case EndEvent(_, end):
                        self._end(self.live[end.number], end)
                    case LostEvent(_, spec) if spec is not None:
                        self.live[spec.number].worker = None

    def _stop_live(self) -> None:
        """The hours are over: stops what runs, and ends what waits for a worker."""
        while self.again:
            self._out_of_time(self.again.popleft())
        for live in self.live.values():
            if not live.stopping:
                self._stop(live)

    def _stop(self, live: _Live) -> None:
        assert live.worker is not None
        live.stopping = True
        self.pool.stop_trial(live.worker.index)

    def _out_of_time(self, live: _Live, end: TrialEnd | None = None) -> None:
        self._tell(live, "requeued" if live.last is None else "pruned", "time", end)

    def _requeue_live(self, reason: str) -> None:
        for live in list(self.live.values()):
            end = TrialEnd(live.spec.number, live.spec.attempt, "stopped", reason)
            if live not in self.again:
                self.store.end_attempt(live.spec.study, end)
            if live.pruned:
                self._tell(live, "pruned", live.pruned, end)
            else:
                self._tell(live, "requeued", reason, end)

    def _tell(self, live: _Live, state: State, reason: str, end: TrialEnd | None) -> None:
        number, best = live.spec.number, live.best
        value = live.value(best) if state == "complete" and best is not None else live.last
        match state:
            case "complete":
                assert value is not None
                self.study.complete(number, value, _attributes(live, end))
            case "pruned":
                self.study.prune(number, reason, _attributes(live, end))
            case "failed":
                self.study.fail(number, reason, _attributes(live, end))
            case "requeued":
                self.study.requeue(number, reason)
        del self.live[number]
        if state != "requeued":
            self.finished += 1
            self._settle(live, state, reason)
        self.watch.trial_ended(live.spec, Ended(number, state, value, reason, len(live.rows), live.seconds))

    def _settle(self, live: _Live, state: State, reason: str) -> None:
        """What a told trial leaves behind: no checkpoint, and a count of failures in a row."""
        if live.spec.checkpoint is not None:
            with suppress(OSError):
                live.spec.checkpoint.unlink(missing_ok=True)
        if state == "failed":
            self.failures.append(reason)
        else:
            self.failures.clear()
            self.only_failures = False

    @cached_property
    def checkpoints(self) -> Path:
        """The study's folder of checkpoints; its uid tells it from a study of the same name elsewhere."""
        return self.settings.checkpoints / f"{self.sweep.study}-{self.store.study(self.sweep.study).uid}"

    def _outcome(self, reason: Literal["budget", "hours", "interrupted"]) -> StudyOutcome:
        from fer_tune.study import ranking

        best = next(iter(ranking(self.store, self.sweep.study, top=1)), None)
        return StudyOutcome(
            self.sweep.study,
            self.study.counts(),
            best.number if best else None,
            best.value if best else None,
            reason,
        )


def _attributes(live: _Live, end: TrialEnd | None) -> dict[str, Any]:
    """What the study keeps beside the value, shown by optuna-dashboard; see `trial.EpochRow` for the units."""
    best, seconds = live.best, live.seconds
    images = sum(row.images_per_second * row.seconds for row in live.rows)
    return {
        "device": live.worker.device if live.worker else None,
        "parameters": end.parameters if end else None,
        "epochs": len(live.rows),
        "best_epoch": best.epoch if best else None,
        "seconds": round(seconds, 3),
        "images_per_second": round(images / seconds, 1) if seconds else None,
    }


# -- what a run stands on ---------------------------------------------------------------------------------


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


@contextmanager
def _mirrored(settings: Settings, study: str, mode: Mode | None, watch: Watch, interrupt: Interrupt) -> Iterator[None]:
    """Runs the mirror beside the study. The run needs it for nothing, so its troubles are notes."""
    try:
        if mode != "disabled" and find_spec("wandb") is None:
            raise FerTuneError("wandb is not installed.", "pip install wandb")
        handle = mirror.start(settings, study, mode)
    except (OSError, FerTuneError) as error:
        watch.note(f"{study} is not mirrored to wandb: {error}")
        yield
        return
    try:
        yield
    finally:
        if not handle.stop(MIRROR_GRACE_INTERRUPTED if interrupt.requested else MIRROR_GRACE):
            watch.note(f"{study}: wandb does not have everything yet; the next run goes on ({handle.log}).")
