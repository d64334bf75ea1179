"""A source whose jobs are known before the first one starts."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fer_tune.job import EpochRow, Job
from fer_tune.jobs.checkpoints import remove_checkpoint
from fer_tune.jobs.outcome import Ended, Plan, Reason, StudyOutcome
from fer_tune.jobs.source import CONTINUE, Verdict
from fer_tune.jobs.states import Event, transition
from fer_tune.store import JobRecord, Store, StudyLock
from fer_tune.study import Counts


class JobList:
    """Trains each job of a list once, whatever interrupts it. A subclass makes the list.

    Args:
        plan: see `Source.plan`. Its kind is that of the jobs.
        jobs: a job that is in the database already has the uid that it has there.
        lock: keeps other processes away from these jobs.
        origin: is recorded with each job. `trial` is the trial whose configuration is trained.
        mirrored: whether trackers may copy the jobs.
    """

    pauses = False

    def __init__(
        self,
        store: Store,
        plan: Plan,
        jobs: Sequence[Job],
        *,
        lock: StudyLock,
        origin: Mapping[str, Any],
        mirrored: bool = True,
    ) -> None:
        self.plan, self.jobs, self.lock = plan, list(jobs), lock
        self._store, self._origin, self._mirrored = store, origin, mirrored
        ended = {record.uid: record.state for record in self.records()}
        over = {uid for uid, state in ended.items() if state in ("complete", "pruned")}
        self._todo = deque(job for job in self.jobs if job.uid not in over)
        for job in self.jobs:  # a run that was killed after the job's end may have left its checkpoint
            if ended.get(job.uid) in ("complete", "pruned", "failed") and job.checkpoint is not None:
                remove_checkpoint(job.checkpoint)

    def begin(self, left: Callable[[], float]) -> Counts:
        """Ends the attempts that a killed process left open, and removes files that it did not
        record.

        Returns the number of complete jobs.
        """
        running = {record.uid for record in self.records() if record.state == "running"}
        for job in self.jobs:
            if job.uid in running:
                self._store.jobs.abandon_attempts_of(job.uid, "The orchestrator ended before the job did.")
                self._store.jobs.set_state(job.uid, transition("running", Event.LEFT_BEHIND).after)
            if job.artifacts is not None:
                self._store.artifacts.discard_unrecorded(job.study, job.uid, job.artifacts)
        return Counts(complete=len(self.jobs) - len(self._todo))

    def hold(self) -> None:
        """Checks that this process still holds the lock of these jobs."""
        self._store.patiently(self.lock.keep)

    def taken(self) -> Mapping[str, str]:
        """Returns no job: only Optuna's trials are told by other programs."""
        return {}

    def wanted(self) -> bool:
        """Returns whether there is another job to start."""
        return bool(self._todo)

    def most_at_once(self, workers: int) -> float:
        """Returns infinity: all jobs will be trained to their ends, so each slot may have one."""
        return math.inf

    def next(self) -> Job:
        """Records and returns the next job."""
        job = self._todo.popleft()
        self._store.jobs.put(job, mirrored=self._mirrored, origin=self.origin_of(job.uid))
        return job

    def origin_of(self, uid: str) -> Mapping[str, Any]:
        """Returns what is recorded with a job."""
        return self._origin

    def prepare(self, slots: int) -> bool:
        """Does nothing, because the jobs are known."""
        return False

    def record_epoch(self, job: Job, row: EpochRow, value: float) -> None:
        """Does nothing, because nobody judges the epochs."""

    def judge(self, job: Job, row: EpochRow, value: float, replayed: bool) -> Verdict:
        """Returns `CONTINUE`: each job is trained to its end."""
        return CONTINUE

    def ended(self, job: Job, ended: Ended) -> None:
        """Records how a job ended. Without a validation part it has no value."""
        state = "queued" if ended.state == "requeued" else ended.state
        self._store.jobs.set_state(job.uid, state, ended.reason, ended.value if job.fit == "train" else None)

    def completed(self) -> int:
        """Returns how many of the jobs are complete."""
        return sum(record.state == "complete" for record in self.records())

    def outcome(self, reason: Reason) -> StudyOutcome:
        """Returns what became of the jobs."""
        return StudyOutcome(self.plan.study, self.counts(), self._origin["trial"], None, reason)

    def counts(self) -> Counts:
        """Returns how many jobs ended in which way."""
        states = [record.state for record in self.records()]
        return Counts(**{state: states.count(state) for state in ("complete", "pruned", "failed")})

    def records(self) -> list[JobRecord]:
        """Returns the records of the jobs that were started."""
        known = {record.uid: record for record in self._store.jobs.of(self.plan.study, self.plan.kind)}
        return [known[job.uid] for job in self.jobs if job.uid in known]
