"""Stops jobs that take too long, and ends workers that are silent for too long."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fer_tune.jobs.limits import CUT_GRACE, STOP_GRACE, Pace
from fer_tune.jobs.running import Running
from fer_tune.jobs.started_jobs import StartedJobs, overdue

BETWEEN_SECONDS = 0.05
"""Seconds between two looks at all jobs, at least. Hundreds of jobs send hundreds of rows a second,
and none of their limits is as short as this."""


@dataclass
class Supervisor:
    """Looks at the clock for every job of a run.

    Attributes:
        pace: how long a worker may be silent.
        job_timeout: see `Limits`.
    """

    jobs: StartedJobs
    pace: Pace
    job_timeout: float | None

    def __post_init__(self) -> None:
        self._looked = -math.inf

    def look(self) -> None:
        """Stops what takes too long. Call it a few times a second; see `BETWEEN_SECONDS`."""
        now = self.jobs.now()
        if now - self._looked < BETWEEN_SECONDS:
            return
        self._looked = now
        patience = self.pace.patience
        for entry in list(self.jobs.running.values()):
            self._end_overdue(entry, now)
            self._hurry(entry, now)
            silence = now - entry.heard
            if silence > patience:
                self._end_worker(entry, f"The worker sent nothing for {silence:.0f} s and was stopped")
            elif entry.stopped is not None and now - entry.stopped > STOP_GRACE:
                why = entry.overdue or ("the hours of the run are over" if entry.out_of_time else "interrupted")
                self._end_worker(entry, f"the worker was killed {STOP_GRACE:g} s after it was asked to stop ({why})")

    def _end_overdue(self, entry: Running, now: float) -> None:
        """Stops a job whose time limit is over."""
        limit = self.job_timeout
        if limit is None or entry.began is None or entry.verdict or entry.overdue:
            return
        if entry.spent + now - entry.began <= limit or entry.interrupted:
            return
        entry.recall_value()
        entry.overdue = f"the job took longer than its trial_timeout of {limit:g} s"
        if entry.waits:
            self.jobs.waiting.remove(entry)
            self.jobs.leave(entry, overdue(entry), entry.overdue, None)
        else:
            self.jobs.stop(entry)
            entry.stopped = now

    def _hurry(self, entry: Running, now: float) -> None:
        """Stops a job at once that had a moment to finish its epoch after the end of the hours."""
        if not entry.out_of_time or entry.at_once or entry.worker is None or entry.stopped is None:
            return
        if now - entry.stopped > CUT_GRACE:
            entry.at_once = True
            self.jobs.pool.stop_job(entry.where)

    def _end_worker(self, entry: Running, why: str) -> None:
        """Ends a job's worker, once. The pool reports the loss as a `LostEvent`."""
        if entry.worker is not None and entry.worker.can_hang and entry.heard < math.inf:
            entry.hung, entry.heard, entry.stopped = entry.hung + 1, math.inf, None
            entry.ended_worker = True
            self.jobs.pool.end_worker(entry.worker.index, why)
