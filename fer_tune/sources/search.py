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

    from fer_tune.store import Store, StudyLock
    from fer_tune.study import Counts, Proposal, Study
    from fer_tune.sweep.schema import Sweep


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
        self._settle()
        for job in self._store.jobs.of(name, "search"):
            if job.state == "running":
                self._store.jobs.set_state(job.uid, transition("running", Event.LEFT_BEHIND).after)
        unfinished = [job for job in self._store.jobs.of(name) if job.state in ("queued", "running")]
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
        proposal = self._study.ask()
        known = self._store.jobs.find_trial(self._sweep.study, proposal.number)
        uid = known.uid if known else new_uid()
        attempts = self._store.jobs.attempts(self._sweep.study, uid) if known else []
        job = self._job(proposal, uid, max((attempt.attempt + 1 for attempt in attempts), default=0))
        self._store.jobs.put(job, mirrored=self._mirrored)
        self._running.add(uid)
        return job

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
        self._running.discard(job.uid)

    def completed(self) -> int:
        """Returns how many trials of the study completed, in all its runs."""
        return self._study.counts().complete

    def outcome(self, reason: Reason) -> StudyOutcome:
        """Returns the state of the study and its best trial."""
        from fer_tune.study import ranking

        best = next(iter(ranking(self._store, self._sweep.study, top=1)), None)
        return StudyOutcome(
            self._sweep.study,
            self._study.counts(),
            best.number if best else None,
            best.value if best else None,
            reason,
        )

    def _settle(self) -> None:
        """Records the ends of trials that have ended in Optuna, but not in our tables.

        A run that was killed between the two steps leaves such trials.
        """
        finished = {trial.number: trial for trial in self._study.finished()}
        for job in self._store.jobs.of(self._sweep.study, "search"):
            if job.state in ("queued", "running") and job.number in finished:
                trial = finished[job.number]
                self._store.jobs.set_state(job.uid, trial.state, trial.reason, trial.value)

    # within -------------------------------------------------------------------------------------------------------

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
            objective_of=sweep.objective_of,
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
