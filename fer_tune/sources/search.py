"""The source of a search: Optuna proposes its jobs, and it reports their results to Optuna."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from fer_tune.data.spec import DataRef
from fer_tune.errors import TakenOverError
from fer_tune.job import PRUNED_IN, EpochRow, Job, new_uid
from fer_tune.jobs.checkpoints import checkpoint_path, sweep_up
from fer_tune.jobs.outcome import Ended, Plan, Reason, StudyOutcome
from fer_tune.jobs.runner import discard_unrecorded
from fer_tune.jobs.source import CONTINUE, Verdict
from fer_tune.jobs.states import Event, transition
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from fer_tune.store import JobRecord, Store, StudyLock
    from fer_tune.study import Counts, Proposal, Study
    from fer_tune.sweep.schema import Sweep

MOST_AHEAD = 16
"""Trials that are asked for ahead of time, at most."""


def ahead(slots: int) -> int:
    """Returns how many trials to ask for ahead of time: one for eight slots, and none for one.

    With several slots, each draw lacks the results of the other slots anyway. With one slot, every
    draw would lack the newest result.
    """
    return 0 if slots == 1 else min(MOST_AHEAD, max(1, slots // 8))


class Search:
    """The source of one study's trials, until its budget is used up.

    Each method waits for the storage as long as the sweep's `storage_patience` says.

    Args:
        lock: the study's lock, which this process holds.
        mirrored: whether trackers may copy the trials.
        note: is called with one line that the user should read.

    Attributes:
        plan: see `Source.plan`.
    """

    def __init__(
        self,
        sweep: Sweep,
        study: Study,
        data: DataRef,
        store: Store,
        *,
        settings: Settings,
        lock: StudyLock,
        mirrored: bool = True,
        note: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._sweep, self._study, self._data, self._store, self._lock = sweep, study, data, store, lock
        self._mirrored, self._note = mirrored, note
        self.record = store.studies.get(sweep.study)
        self._uid = self.record.uid
        self._settings = settings
        self._finished = 0
        self._running: set[str] = set()
        self.plan = Plan(
            study=sweep.study,
            kind="search",
            family=sweep.family,
            data=sweep.data,
            objective=sweep.objective,
            jobs=sweep.budget.trials,
            epochs=sweep.budget.epochs,
            hours=sweep.budget.hours,
            budget=sweep.budget.model_dump(mode="json"),
        )

    # called by the runner -----------------------------------------------------------------------------------------

    def begin(self) -> Counts:
        """Queues again the trials that a killed run left running, and removes files that no job
        needs.

        Returns the trials by state.
        """
        name = self._sweep.study
        self._store.patiently(self._lock.keep)  # the run took the lock at its start, perhaps several sweeps ago
        if lost := self._study.reconcile():
            self._note(f"{name}: {len(lost)} trials that an earlier run left running are queued again.")
        unfinished = self._store.jobs.unfinished(name)
        with self._store.batch():
            for job in unfinished:
                if job.kind == "search":
                    self._settle(job)
        unfinished = self._store.jobs.unfinished(name)
        for job in unfinished:
            if job.kind == "search":
                discard_unrecorded(self._store, name, job.uid, self._folder(job.uid))
        if stray := sweep_up(self._checkpoints, {job.uid for job in unfinished}):
            self._note(f"{name}: {stray} checkpoints that no job needs any more were removed.")
        counts = self._study.counts()
        self._finished = counts.finished
        return counts

    def hold(self) -> None:
        """Checks that this run still has the study. Another run may have taken it while the
        database server could not be reached.

        Raises:
            TakenOverError: another run has the study now, or had it meanwhile.
        """
        if self._store.patiently(self._lock.keep):
            self._study.look()
            counts = self._study.counts()
            if (counts.finished, counts.running) != (self._finished, len(self._running)):
                raise TakenOverError(self._sweep.study)
            self._note(f"{self._sweep.study}: the database server lost the study's lock. This run holds it again.")

    def wanted(self) -> bool:
        """Returns whether the budget has room for another trial."""
        return self._finished + len(self._running) < self._sweep.budget.trials

    def next(self) -> Job:
        """Records and returns the next trial: one from Optuna's queue, else one that the sampler
        draws."""
        self._store.commit()
        while True:
            with self._store.batch():
                proposal = self._study.propose()
                job = self._job_of(proposal)
                self._store.jobs.put(job, mirrored=self._mirrored)
                if self._study.start(proposal):
                    self._running.add(job.uid)
                    return job

    def prepare(self, slots: int) -> bool:
        """Asks Optuna for a trial ahead of time, unless there are enough; see `ahead`."""
        missing = self._finished + len(self._running) + self._study.prepared < self._sweep.budget.trials
        if not missing or self._study.prepared >= ahead(slots):
            return False
        self._study.prepare()
        return self._study.prepared < ahead(slots)

    def record_epoch(self, job: Job, row: EpochRow, value: float) -> None:
        """Writes an epoch for Optuna, as `judge` will report it."""
        assert job.number is not None
        self._study.record(job.number, row.epoch, value)

    def judge(self, job: Job, row: EpochRow, value: float) -> Verdict:
        """Reports an epoch to Optuna, and returns the decision of its pruner."""
        assert job.number is not None
        if not self._study.report(job.number, row.epoch, value):
            return CONTINUE
        finite = math.isfinite(value)
        return Verdict(f"{PRUNED_IN if finite else f'{job.objective} is not finite in epoch'} {row.epoch}")

    def ended(self, job: Job, ended: Ended) -> None:
        """Tells Optuna how a trial ended, or queues it again. Records the same for the job."""
        number, study = job.number, self._study
        assert number is not None
        with self._store.batch():
            self._end(job, number, ended, study)
        self._running.discard(job.uid)

    def _end(self, job: Job, number: int, ended: Ended, study: Study) -> None:
        match ended.state:
            case "complete":
                assert ended.value is not None
                study.complete(number, ended.value, ended.facts)
            case "pruned":
                study.prune(number, ended.reason, ended.facts)
            case "failed":
                study.fail(number, ended.reason, ended.facts, infeasible=ended.infeasible)
            case "requeued":
                study.requeue(number, ended.reason)
                self._store.jobs.set_state(job.uid, "queued", ended.reason)
        if ended.state != "requeued":
            self._store.jobs.set_state(job.uid, ended.state, ended.reason, ended.value)
            self._finished += 1

    def completed(self) -> int:
        """Returns how many trials of the study completed, in all its runs."""
        return self._study.counts().complete

    def outcome(self, reason: Reason) -> StudyOutcome:
        """Returns the state of the study and its best trial."""
        from fer_tune.study import ranking

        self._study.forget_prepared()
        self._store.commit()
        best = next(iter(ranking(self._store, self._sweep.study, top=1)), None)
        return StudyOutcome(
            self._sweep.study,
            self._study.counts(),
            best.number if best else None,
            best.value if best else None,
            reason,
        )

    def _settle(self, job: JobRecord) -> None:
        """Records how a job ended whose trial has ended, and that no worker trains it now.

        Older versions, killed between the two steps, left trials that had ended without their job.
        """
        if job.number is not None and (trial := self._study.ended(job.number)):
            self._store.jobs.set_state(job.uid, trial.state, trial.reason, trial.value)
        elif job.state == "running":
            self._store.jobs.set_state(job.uid, transition("running", Event.LEFT_BEHIND).after)

    # within -------------------------------------------------------------------------------------------------------

    def _job_of(self, proposal: Proposal) -> Job:
        """Returns the job of a trial. A trial from the queue may continue a job that exists."""
        study = self._sweep.study
        known = self._store.jobs.find_trial(study, proposal.number) if proposal.queued else None
        attempts = self._store.jobs.attempts(study, known.uid) if known else []
        attempt = max((attempt.attempt + 1 for attempt in attempts), default=0)
        return self._job(proposal, known.uid if known else new_uid(), attempt)

    def _job(self, proposal: Proposal, uid: str, attempt: int) -> Job:
        sweep = self._sweep
        return Job(
            uid=uid,
            study=sweep.study,
            kind="search",
            family=sweep.family,
            params=proposal.params,
            schedule=sweep.budget.epochs,
            seed=proposal.seed,
            data=self._data,
            number=proposal.number,
            name=proposal.name,
            attempt=attempt,
            objective=sweep.objective,
            patience=sweep.patience,
            artifacts=self._folder(uid),
            checkpoint=checkpoint_path(self._checkpoints, uid),
            checkpoint_seconds=sweep.limits.checkpoint_interval,
        )

    def _folder(self, uid: str) -> Path:
        return self._settings.job_folder(self._sweep.study, self._uid, uid)

    @property
    def _checkpoints(self) -> Path:
        return self._settings.checkpoint_folder(self._sweep.study, self._uid)
