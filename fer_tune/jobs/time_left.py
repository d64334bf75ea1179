"""How long a run may still train: until its hours are over, or the GPU-hours of its study."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from fer_tune.jobs.limits import Limits
from fer_tune.jobs.started_jobs import StartedJobs
from fer_tune.pool import Pool


@dataclass
class TimeLeft:
    """Counts what a run has left of its limits.

    Attributes:
        clock: returns the time in seconds.
        deadline: when the hours of the run are over, by the clock.
        spent: seconds of devices that the study has used, in all its runs.
        ticked: when `spent` was counted last, by the clock.
    """

    limits: Limits
    jobs: StartedJobs
    pool: Pool
    clock: Callable[[], float]
    deadline: float = math.inf
    spent: float = 0.0
    ticked: float = math.inf

    def begin(self) -> None:
        """Starts to count, because the run begins."""
        if self.limits.hours is not None:
            self.deadline = self.clock() + 3600 * self.limits.hours
        if self.limits.gpu_hours is not None:
            self.spent = self.limits.spent()

    def seconds(self) -> float:
        """Returns the seconds until the hours of the run or the study's GPU-hours are over."""
        return min(max(0.0, self.deadline - self.clock()), self.device_seconds())

    def device_seconds(self) -> float:
        """Returns the seconds until the study's GPU-hours are over, if all workers are busy."""
        if self.limits.gpu_hours is None:
            return math.inf
        now = self.clock()
        self.spent += len(self.jobs.busy_workers()) * max(0.0, now - self.ticked)
        self.ticked = now
        return max(0.0, 3600 * self.limits.gpu_hours - self.spent) / max(1, len(self.pool.workers))
