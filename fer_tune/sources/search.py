"""The trials of a turn that were asked for and are not yet told: what is recorded of them, what the study is told."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tune.data.spec import DataRef
from fer_tune.errors import TakenOverError
from fer_tune.job import PRUNED_IN, EpochRow, Job, JobEnd
from fer_tune.jobs.checkpoints import Checkpoints
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import Ended, Reason, State, StudyOutcome
from fer_tune.jobs.supervision import Failures
from fer_tune.pool import WorkerInfo
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.dashboard.writer import NoteWriter
    from fer_tune.store import Store, StudyLock
    from fer_tune.study import Counts, Proposal, Study
    from fer_tune.sweep.schema import Sweep


@dataclass
class Live:
    """A trial that was asked for and is not yet told."""

    spec: Job
    name: str | None
    worker: WorkerInfo | None = None
    pruned: str = ""
    """Why, decided while it runs: whatever it says from then on is ignored, but for its end."""
    overdue: str = ""
    """Why, once its `trial_timeout` is over."""
    stopping: bool = False
    began: float | None = None
    """When its first try began, by the turn's clock."""
    heard: float = 0.0
    """When its worker was last heard of, by the turn's clock."""
    hung: int = 0
    """How often its worker was ended for its silence."""
    earlier: int = 0
    """How often the configuration was interrupted before, in earlier runs."""
    last: float | None = None
    """The value reported last, in whichever attempt."""
    rows: list[EpochRow] = field(default_factory=list)
    """Of this attempt."""

    def value(self, row: EpochRow) -> float:
        """The objective of an epoch."""
        return float(getattr(row, self.spec.objective))

    @property
    def best(self) -> EpochRow | None:
        """The first epoch with the highest objective."""
        finite = [row for row in self.rows if math.isfinite(self.value(row))]
        return max(finite, key=self.value, default=None)

    @property
    def seconds(self) -> float:
        """What its epochs took."""
        return sum(row.seconds for row in self.rows)

    def attributes(self, end: JobEnd | None) -> dict[str, Any]:
        """What the study keeps beside the value, shown by optuna-dashboard; see `trial.EpochRow` for the units."""
        best, seconds = self.best, self.seconds
        images = sum(row.images_per_second * row.seconds for row in self.rows)
        return {
            "device": self.worker.device if self.worker else None,
            "parameters": end.parameters if end else None,
            "epochs": len(self.rows),
            "best_epoch": best.epoch if best else None,
            "macro_f1": round(best.val_macro_f1, 4) if best else None,
            "attempt": self.earlier + self.spec.attempt,
            "seconds": round(seconds, 3),
            "images_per_second": round(images / seconds, 1) if seconds else None,
        }


@dataclass
class Trials:
    """Asks, records and tells, each in its order; knows no workers but by name.

    Whatever comes in is in the database before anything is decided by it. Each step waits for the storage as long
    as the sweep's `storage_patience` says.
    """

    sweep: Sweep
    study: Study
    data: DataRef
    store: Store
    settings: Settings
    watch: Observer
    lock: StudyLock
    live: dict[int, Live] = field(default_factory=dict)
    """By number."""
    finished: int = 0
    failures: Failures = field(default_factory=Failures)

    def begin(self) -> Counts:
        """Takes over what earlier runs left; returns where the study stands."""
        self.store.patiently(self.lock.keep)  # it was taken when the run began, perhaps some sweeps ago
        self._discard_files(self.study.interrupted())
        if lost := self.study.reconcile():
            self.watch.note(
                f"{self.sweep.study}: {len(lost)} trials that an earlier run left running are queued again."
            )
        if stray := self.checkpoints.sweep_up(self.study.unfinished_seeds()):
            self.watch.note(f"{self.sweep.study}: {stray} checkpoints that nothing needs any more were removed.")
        counts = self.study.counts()
        self.finished = counts.finished
        self.notes.catch_up()
        return counts

    def hold(self) -> None:
        """Makes sure that the study is still this run's; it may have been another's while the server was away.

        Raises:
            TakenOverError: it is another's now, or was.
        """
        if self.store.patiently(self.lock.keep):
            counts = self.study.counts()
            if (counts.finished, counts.running) != (self.finished, len(self.live)):
                raise TakenOverError(self.sweep.study)
            self.watch.note(f"{self.sweep.study}: the server had dropped the study's lock; it is held again.")

    @property
    def wanted(self) -> bool:
        """Whether the budget has room for another trial."""
        return self.finished + len(self.live) < self.sweep.budget.trials

    # -- out ----------------------------------------------------------------------------------------------

    def ask(self) -> Live:
        """Another trial."""
        proposal = self.study.ask()
        live = self.live[proposal.number] = Live(self._spec(proposal), proposal.name, earlier=proposal.attempt)
        return live

    def started(self, live: Live, worker: WorkerInfo) -> None:
        """A worker is being given the trial."""
        spec = live.spec
        self.store.start_attempt(spec.study, spec.number, spec.attempt, worker.index, worker.device, spec.seed)
        live.worker = worker
        self.watch.trial_started(spec, worker, live.name)

    def _spec(self, proposal: Proposal) -> Job:
        sweep = self.sweep
        return Job(
            study=sweep.study,
            number=proposal.number,
            family=sweep.family,
            params=proposal.params,
            epochs=sweep.budget.epochs,
            seed=proposal.seed,
            data=self.data,
            objective=sweep.objective,
            patience=sweep.patience,
            artifacts=self._folder(proposal.number),
            checkpoint=self.checkpoints.path(proposal.seed),
            checkpoint_seconds=sweep.limits.checkpoint_interval,
        )

    def _discard_files(self, numbers: Iterable[int]) -> None:
        """Deletes what tries of these trials left whose ends were never recorded: nobody would know of these files."""
        for number in numbers:
            if left := set(self._folder(number).glob("*")):
                records = self.store.artifacts(self.sweep.study, number)
                recorded = {self.store.artifact_path(record).resolve() for record in records}
                for path in left:
                    if path.resolve() not in recorded:
                        with suppress(OSError):
                            path.unlink()

    def _folder(self, number: int) -> Path:
        return self.settings.artifacts / self.sweep.study / f"trial-{number:05d}"

    @cached_property
    def notes(self) -> NoteWriter:
        """What the dashboard shows beside the numbers."""
        from fer_tune.dashboard.writer import NoteWriter

        return NoteWriter(self.store, self.settings, self.sweep.study)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """Where they go on from."""
        return Checkpoints(self.settings, self.sweep.study, self.store.study(self.sweep.study).uid)

    # -- in -----------------------------------------------------------------------------------------------

    def row(self, live: Live, row: EpochRow) -> None:
        """Takes an epoch; `live.pruned` says afterwards if the pruner has heard enough."""
        if live.pruned:
            return
        self.store.add_epoch(live.spec.study, row)
        live.rows.append(row)
        value = live.value(row)
        if math.isfinite(value):
            live.last = value
        if self.study.report(row.number, row.epoch, value):  # of another attempt too: an epoch keeps its first answer
            finite = math.isfinite(value)
            live.pruned = f"{PRUNED_IN if finite else f'{live.spec.objective} is not finite in epoch'} {row.epoch}"
        self.watch.epoch(live.spec, row, value)

    def end(self, live: Live, end: JobEnd) -> None:
        """Takes a trial's end."""
        self.attempt_ended(end)
        if live.pruned:
            self.tell(live, "pruned", live.pruned, end)
        elif end.status == "completed" and live.best is not None:
            self.tell(live, "complete", end.reason, end)
        elif live.overdue:
            self.overdue(live, end)
        elif end.status == "stopped":
            self.out_of_time(live, end)
        elif end.status == "diverged":
            self.tell(live, "pruned", end.reason, end)
        else:
            self.tell(live, "failed", end.reason or f"{live.spec.objective} was never finite", end)

    def attempt_ended(self, end: JobEnd) -> None:
        """Records the end of a try, which need not be the trial's."""
        self.store.end_attempt(self.sweep.study, end)

    def try_again(self, live: Live, end: JobEnd) -> None:
        """Records a try that was lost, and makes the trial ready for the next."""
        self.attempt_ended(end)
        live.spec, live.worker, live.rows = replace(live.spec, attempt=live.spec.attempt + 1), None, []

    # -- told ---------------------------------------------------------------------------------------------

    def out_of_time(self, live: Live, end: JobEnd | None = None) -> None:
        """The hours are over: what the trial has, counts; what has nothing is queued again."""
        self.tell(live, "requeued" if live.last is None else "pruned", "time", end)

    def overdue(self, live: Live, end: JobEnd | None = None) -> None:
        """Its `trial_timeout` is over: what the trial has, counts; what has nothing has failed."""
        self.tell(live, "failed" if live.last is None else "pruned", live.overdue, end)

    def requeue_all(self, reason: str) -> None:
        """Queues again whatever is not told."""
        for live in list(self.live.values()):
            end = JobEnd(live.spec.number, live.spec.attempt, "stopped", reason)
            if live.worker is not None:
                self.attempt_ended(end)
            if live.pruned:
                self.tell(live, "pruned", live.pruned, end)
            else:
                self.tell(live, "requeued", reason, end)

    def tell(self, live: Live, state: State, reason: str, end: JobEnd | None) -> None:
        """The trial is over."""
        number, best = live.spec.number, live.best
        value = live.value(best) if state == "complete" and best is not None else live.last
        self._discard_files([number])  # first: a run that is killed in between finds a trial that is still running
        match state:
            case "complete":
                assert value is not None
                self.study.complete(number, value, live.attributes(end))
            case "pruned":
                self.study.prune(number, reason, live.attributes(end))
            case "failed":
                self.study.fail(number, reason, live.attributes(end), infeasible=end.infeasible if end else 0.0)
            case "requeued":
                self.study.requeue(number, reason)
        del self.live[number]
        if state != "requeued":
            self._settle(live, state, reason, infeasible=end is not None and end.infeasible > 0)
        self.notes.write(number)
        self.watch.trial_ended(live.spec, Ended(number, state, value, reason, len(live.rows), live.seconds))

    def _settle(self, live: Live, state: State, reason: str, infeasible: bool) -> None:
        """What a told trial leaves behind: no checkpoint, and a count of failures in a row."""
        self.finished += 1
        self.checkpoints.remove(live.spec.seed)
        if state == "failed":
            self.failures.add(reason, infeasible)
        else:
            self.failures.forget()

    def refuse_hopeless(self) -> None:
        """Ends the run where every trial fails; see `Failures`."""
        self.failures.refuse_hopeless(self.sweep.study, lambda: self.study.counts().complete)

    def outcome(self, reason: Reason) -> StudyOutcome:
        """Where the study stands."""
        from fer_tune.study import ranking

        best = next(iter(ranking(self.store, self.sweep.study, top=1)), None)
        return StudyOutcome(
            self.sweep.study,
            self.study.counts(),
            best.number if best else None,
            best.value if best else None,
            reason,
        )
