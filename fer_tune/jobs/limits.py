"""Time limits of jobs and workers, and the check that ends a run in which every job fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fer_tune.errors import TrainingError

HANG_FACTOR = 20.0
"""A worker may be silent for this many times the run's slowest epoch.

The sweep's `hang_timeout` is the lower bound.
"""

FIRST_FACTOR = 12.0
"""Until an epoch was measured, a worker may be silent for this many times `hang_timeout`.

With the default `hang_timeout` that is an hour.
"""

EPOCH_GRACE = 60.0
"""Seconds that a job has to finish its epoch after an interruption.

Then it is stopped, and the next run repeats that epoch from the last checkpoint.
"""

STOP_GRACE = 10.0
"""Seconds that a worker has to stop a job whose time is over. Then the worker is ended."""

CUT_GRACE = 1.0
"""Seconds that a job has to finish its epoch when the hours of its run are over and it is paused.

It writes a checkpoint of the epoch before as soon as it is asked, so no finished epoch is lost.
"""

HOPELESS = 5
"""A run ends after this many failures in a row, if all jobs of the run failed."""

ALIKE = 20
"""A run ends after this many failures in a row for one reason, whatever completed before."""

TOO_LARGE = 20
"""A run ends after this many jobs in a row did not fit into memory, if no job of the run did.

It is more than `HOPELESS`, because the sampler learns from each of these jobs where not to look.
"""


@dataclass(frozen=True)
class Limits:
    """When a runner stops waiting. Times are in seconds.

    Attributes:
        hang_timeout: shortest silence after which a worker is taken to hang; see `Pace`.
        job_timeout: longest time of a job, over all its attempts; None means no limit.
        retries: how often a job is tried again after its worker died.
        hours: wall time of the run, in hours; None means no limit.
        gpu_hours: hours in which the study may use devices, over all its runs and summed over the
            devices; None means no limit.
        spent: returns the seconds of this limit that earlier runs used.
    """

    hang_timeout: float = 300.0
    job_timeout: float | None = None
    retries: int = 2
    hours: float | None = None
    gpu_hours: float | None = None
    spent: Callable[[], float] = lambda: 0.0


@dataclass
class Pace:
    """How long a worker may be silent, computed from the slowest epoch of the run.

    Attributes:
        hang_timeout: seconds, as the sweep's key of that name says.
        slowest: seconds of the slowest epoch so far; None before the first one.
    """

    hang_timeout: float
    slowest: float | None = None

    def took(self, seconds: float) -> None:
        """Records how long an epoch took."""
        self.slowest = max(seconds, self.slowest or 0.0)

    @property
    def patience(self) -> float:
        """Seconds of silence after which a worker is taken to hang."""
        if self.slowest is None:
            return FIRST_FACTOR * self.hang_timeout
        return max(self.hang_timeout, HANG_FACTOR * self.slowest)


@dataclass
class Failures:
    """Counts failures in a row, and ends a run in which every job fails.

    Attributes:
        reasons: one for each failure since the last job that did not fail.
        too_large: one for each job since then that did not fit into memory. These are not in
            `reasons`.
        only: whether all jobs of this run have failed or did not fit into memory.
    """

    reasons: list[str] = field(default_factory=list)
    too_large: list[str] = field(default_factory=list)
    only: bool = True

    def add(self, reason: str, infeasible: bool) -> None:
        """Counts a failure.

        Args:
            infeasible: whether the job needs more memory than the device has.
        """
        (self.too_large if infeasible else self.reasons).append(reason)

    def reset(self) -> None:
        """Starts to count again, because a job did not fail."""
        self.reasons.clear()
        self.too_large.clear()
        self.only = False

    def refuse_hopeless(self, study: str, completed: Callable[[], int]) -> None:
        """Raises an error if every job fails.

        Args:
            completed: returns how many jobs of the study completed, in all its runs.

        Raises:
            TrainingError: all jobs of this run failed or did not fit into memory. Or the last ones
                failed for the same reason, and there are many of them, or no job of the study has
                completed.
        """
        if self.only and len(self.too_large) >= TOO_LARGE:
            raise TrainingError(
                f"{study}: {len(self.too_large)} trials in a row did not fit into memory. The last one failed with: "
                f"{self.too_large[-1]}",
                "Let the sweep search smaller networks and batches, or use a device with more memory. "
                f"`fer-tune trials --failed --study {study}` shows what each one needed. The same command continues "
                "the study.",
            )
        row, many = self.reasons[-HOPELESS:], self.reasons[-ALIKE:]
        alike = len(many) == ALIKE and len(set(many)) == 1
        if alike or (len(row) == HOPELESS and (self.only or (len(set(row)) == 1 and completed() == 0))):
            raise TrainingError(
                f"{study}: {len(self.reasons)} trials in a row failed. The last one failed with: {row[-1]}",
                f"`fer-tune trials --study {study}` lists the reasons. The same command continues the study.",
            )
