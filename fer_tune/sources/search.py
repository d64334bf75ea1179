"""The source of a search: Optuna proposes its jobs, and it reports their results to Optuna."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fer_tune.data.spec import DataRef
from fer_tune.errors import TakenOverError
from fer_tune.job import OUT_OF_TIME, PRUNED_IN, EpochRow, Job, new_uid
from fer_tune.jobs.checkpoints import sweep_up
from fer_tune.jobs.outcome import FINAL, Ended, Plan, Reason, StudyOutcome
from fer_tune.jobs.source import CONTINUE, Verdict
from fer_tune.jobs.states import Event, transition
from fer_tune.settings import Settings
from fer_tune.sources.order import order_of
from fer_tune.sources.other_hands import OtherHands
from fer_tune.sources.patience import PatienceRule
from fer_tune.sources.paused import PausedTrials
from fer_tune.sources.spending import Spending
from fer_tune.sources.trial_jobs import TrialJobs
from fer_tune.study.rung_values import rung_value

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from fer_tune.selection.cost import PlayedTrials, TrialPace
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
        data: the images and their split.
        spending: what the study has used of its devices, and its plan.
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
        auto_lanes: bool = False,
        note: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._sweep, self._study, self.data, self._store, self._lock = sweep, study, data, store, lock
        self._mirrored, self._note = mirrored, note
        self.record = store.studies.get(sweep.study)
        self._jobs = TrialJobs(sweep, self.record.uid, data, settings, store)
        self._finished = 0
        self._running: set[str] = set()
        self.spending = Spending(sweep.study, study, store, note)
        self._others = OtherHands(sweep.study, study, store, note)
        self._requeued = 0
        self._patience = PatienceRule(sweep, study, self.record, note)
        self._left: Callable[[], float] = lambda: math.inf
        self._paused = PausedTrials(sweep, study, store, self._jobs.checkpoints, note)
        self._order = order_of(sweep, study, store, self._paused, auto_lanes=auto_lanes)
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

    def rehearsed(self, pace: TrialPace, alone: bool) -> Callable[[np.random.Generator], PlayedTrials] | None:
        """Returns what makes the trials of a play; see `Study.rehearsed`."""
        return self._store.patiently(lambda: self._study.rehearsed(pace, alone))

    def patience_is_over(self) -> bool:
        """Returns whether `budget.patience` lets no further trial start."""
        return self._patience.is_over()

    def begun(self) -> int:
        """Returns how many trials have begun and not ended."""
        counts = self._study.counts()
        return counts.paused + counts.running

    # called by the runner -----------------------------------------------------------------------------------------

    @property
    def pauses(self) -> bool:
        """Whether a trial that the end of the run's hours cuts off is paused: with rungs. A search
        in rounds ends it, so that the sequence of its trials does not depend on the clock."""
        return bool(self._paused.rungs.rungs) and self._order.by_time

    def begin(self, left: Callable[[], float]) -> Counts:
        """Queues again the trials that a killed run left running, and removes files that no job
        needs.

        Returns the trials by state.
        """
        name, self._left = self._sweep.study, left
        self._store.patiently(self._lock.keep)  # the run took the lock at its start, perhaps several sweeps ago
        if lost := self._study.reconcile():
            trials, are = ("1 trial", "is") if len(lost) == 1 else (f"{len(lost)} trials", "are")
            self._note(f"{name}: {trials} that an earlier run left running {are} queued again.")
        unfinished = [job for job in self._store.jobs.unfinished(name) if job.kind == "search"]
        with self._store.batch():
            for job in unfinished:
                self._settle(job)
        unfinished = self._store.jobs.unfinished(name)
        for job in unfinished:
            if job.kind == "search":
                self._store.artifacts.discard_unrecorded(name, job.uid, self._jobs.folder(job.uid))
        if stray := sweep_up(self._jobs.checkpoints, {job.uid for job in unfinished}):
            self._note(f"{name}: {stray} checkpoints that no job needs any more were removed.")
        self._paused.recall()
        self._order.recall()
        counts = self._study.counts()
        queued = sum(job.kind == "search" and job.state != "paused" for job in unfinished)
        self._requeued = min(queued, counts.waiting)
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

    def taken(self) -> Mapping[str, str]:
        """Returns the jobs whose trials another program ended or deleted; see `OtherHands`.

        Raises:
            StudyError: another program deleted the study.
        """
        stopped, found = {}, self._others.look()
        for _, uid, reason in found:
            if uid is not None:
                if uid in self._running:
                    stopped[uid] = reason
                self._forget(uid)
        if found:
            self._finished = self._study.counts().finished
        return stopped

    def _forget(self, uid: str) -> None:
        """Forgets a job whose trial another program ended."""
        self._running.discard(uid)
        self._paused.forget(uid)
        self._order.ended(uid)

    def wanted(self) -> bool:
        """Returns whether the budget has room for another trial, or a paused trial may continue."""
        return self._order.wanted(self._has_room, len(self._running), self._requeued)

    def most_at_once(self, workers: int) -> float:
        """Returns how many trials may share the devices, so that some are completed in time."""
        return self._order.most(workers, self._left())

    def next(self) -> Job:
        """Records and returns the next trial.

        A trial that an earlier run left queued comes first, if the budget has room for it. Else the
        order decides. New trials are first those in Optuna's queue, and then those that the sampler
        draws.
        """
        with self._others.gives_up():
            job = self._next()
        self._running.add(job.uid)
        return job

    def _next(self) -> Job:
        if self._requeued and (self._has_room() or not self._order.by_time):  # see `Order.wanted`
            return self._asked()
        choice = self._order.choice(self._has_room, len(self._running), self._left())
        return self._asked() if choice.uid is None else self._continued(choice.uid, choice.to_the_end)

    def prepare(self, slots: int) -> bool:
        """Asks Optuna for a trial ahead of time, unless there are enough; see `ahead`."""
        prepared = self._study.prepared
        if not self._order.by_time or not self._has_room(prepared) or prepared >= ahead(slots):
            return False
        self._study.prepare()
        return self._study.prepared < ahead(slots)

    def record_epoch(self, job: Job, row: EpochRow, value: float) -> None:
        """Writes an epoch for Optuna, as `judge` will report it."""
        assert job.number is not None
        self._study.record(job.number, row.epoch, value)

    def judge(self, job: Job, row: EpochRow, value: float, replayed: bool) -> Verdict:
        """Reports an epoch to Optuna, and returns the decision of its pruner."""
        assert job.number is not None
        compared = rung_value(row, job.objective, self._sweep.search.compare)
        self._paused.heard(job, row.epoch, compared)
        if not replayed:  # rounds know it already, and other trials ran beside it than those of now
            self._order.heard(job, row, compared, len(self._running), self._left())
        with self._study.looking_back(self._order.known(job.uid)):
            poor = self._study.report(job.number, row.epoch, value)
        if not poor:
            return CONTINUE
        finite = math.isfinite(value)
        return Verdict(f"{PRUNED_IN if finite else f'{job.objective} is not finite in epoch'} {row.epoch}")

    def ended(self, job: Job, ended: Ended) -> None:
        """Tells Optuna how a trial ended, or queues it again. Records the same for the job."""
        number, study = job.number, self._study
        assert number is not None
        with self._store.batch():
            if job.uid in self._others:
                self._others.record(job.uid)
                self._forget(job.uid)
            else:
                self._end(job, number, ended, study)
        self._order.ended(job.uid, job.last_epoch if ended.state == "paused" else None)
        self._running.discard(job.uid)

    def _end(self, job: Job, number: int, ended: Ended, study: Study) -> None:
        match ended.state:
            case "paused" if ended.reason == OUT_OF_TIME:
                self._paused.cut(job, ended)
            case "paused":
                self._paused.add(job, ended, len(self._running))
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
        if ended.state not in ("requeued", "paused"):
            self._store.jobs.set_state(job.uid, ended.state, ended.reason, ended.value)
            self._finished += 1

    def completed(self) -> int:
        """Returns how many trials of the study completed, in all its runs."""
        return self._study.counts().complete

    def outcome(self, reason: Reason) -> StudyOutcome:
        """Ends the paused trials if the budget is used up. Returns the state of the study and its
        best trial."""
        from fer_tune.study import ranking

        self._study.forget_prepared()
        self._store.commit()
        if reason in FINAL:
            self._finished += self._paused.end_all()
        best = next(iter(ranking(self._store, self._sweep.study, top=1)), None)
        return StudyOutcome(
            self._sweep.study,
            self._study.counts(),
            best.number if best else None,
            best.value if best else None,
            reason,
            self._paused.spent(),
            None if reason == "interrupted" else self.spending.compare(self.plan.budget),
        )

    def _settle(self, job: JobRecord) -> None:
        """Records that a job ended or paused if its trial did, and else that it does not run.

        Older versions, killed between the two steps, left trials that had ended without their job.
        """
        assert job.number is not None
        if trial := self._study.ended(job.number):
            self._store.jobs.set_state(job.uid, trial.state, trial.reason, trial.value)
        elif self._study.is_paused(job.number):
            if job.state != "paused":
                self._store.jobs.set_state(job.uid, "paused")
        elif job.state == "running":
            self._store.jobs.set_state(job.uid, transition("running", Event.LEFT_BEHIND).after)

    # within -------------------------------------------------------------------------------------------------------

    def _has_room(self, prepared: int = 0) -> bool:
        started = self._finished + len(self._running) + len(self._paused)
        return started + prepared < self._sweep.budget.trials and not self._patience.is_over()

    def _asked(self) -> Job:
        """Records and returns a trial that Optuna proposes, or queued again."""
        self._store.commit()
        while True:
            with self._store.batch():
                with self._study.looking_back(self._order.known()):
                    proposal = self._study.propose()
                known = self._store.jobs.find_trial(self._sweep.study, proposal.number) if proposal.queued else None
                job = self._new(proposal) if known is None else self._again(proposal, known)
                self._store.jobs.put(job, mirrored=self._mirrored)
                if known is None:
                    self._order.announce(job)
                if self._study.start(proposal):
                    if known is None:
                        self._order.take(job)
                    self._requeued -= known is not None
                    self._note_refused()
                    return job

    def _note_refused(self) -> None:
        """Counts the entries of Optuna's queue that were not valid, and says so."""
        for number, reason in self._study.refused():
            self._finished += 1
            self._note(f"{self._sweep.study}: trial {number} has failed: {reason}")

    def _new(self, proposal: Proposal) -> Job:
        until = None if self._study.is_trusted(proposal) else self._paused.rungs.next_after(0)
        return self._jobs.make(proposal, new_uid(), 0, until)

    def _again(self, proposal: Proposal, known: JobRecord) -> Job:
        until = None if known.until is None else self._paused.rungs.next_after(known.until - 1)
        return self._jobs.make(proposal, known.uid, self._jobs.attempt(known.uid), until)

    def _continued(self, uid: str, to_the_end: bool) -> Job:
        """Records and returns a paused trial that continues; see `NextTrial`."""
        attempt = self._jobs.attempt(uid)
        proposal, until = self._paused.promote(uid)
        job = self._jobs.make(proposal, uid, attempt, None if to_the_end else until)
        self._order.announce(job)
        self._order.take(job)
        self._store.jobs.put(job, mirrored=self._mirrored)
        return job
