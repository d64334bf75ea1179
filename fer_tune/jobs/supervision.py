"""How long a job may be silent and may take, and when a run in which nothing works is ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fer_tune.errors import TrainingError

HANG_FACTOR = 20.0
"""A worker may be silent for this many of the run's slowest epochs, and for the sweep's
`hang_timeout` at least."""

FIRST_FACTOR = 12.0
"""While no epoch was measured, it may be silent for this many times `hang_timeout`: an hour, by
default."""

STOP_GRACE = 10.0
"""Seconds that a worker has to stop a job whose time is over, before the worker is ended."""

HOPELESS = 5
"""A run ends after this many failures in a row, if nothing but failures happened."""

TOO_LARGE = 20
"""A run ends after this many jobs in a row that do not fit into memory, if no job did anything
else. It is more than `HOPELESS`, since each of them teaches the sampler where not to look."""


@dataclass(frozen=True)
class Limits:
    """When a runner stops waiting. Times are in seconds.

    Attributes:
        hang_timeout: silence after which a worker hangs, at least; see `Pace`.
        job_timeout: what a job may take, its further attempts included; None is no limit.
        retries: how often a job is tried again after its worker died.
        hours: of wall time; None is no limit.
    """

    hang_timeout: float = 300.0
    job_timeout: float | None = None
    retries: int = 2
    hours: float | None = None


@dataclass
class Pace:
    """How long the epochs of a run take, and so how long a worker may be silent.

    Args:
        hang_timeout: seconds; see the sweep's key.
    """

    hang_timeout: float
    slowest: float | None = None
    """Seconds of the slowest epoch so far."""

    def took(self, seconds: float) -> None:
        """Notes how long an epoch took."""
        self.slowest = max(seconds, self.slowest or 0.0)

    @property
    def patience(self) -> float:
        """Seconds of silence after which a worker hangs."""
        if self.slowest is None:
            return FIRST_FACTOR * self.hang_timeout
        return max(self.hang_timeout, HANG_FACTOR * self.slowest)


@dataclass
class Failures:
    """Failures in a row. They end a run in which nothing works."""

    reasons: list[str] = field(default_factory=list)
    """Of the failures since the last job that did not fail."""
    too_large: list[str] = field(default_factory=list)
    """Of the jobs since then that did not fit into memory. They do not count as failures here."""
    only: bool = True
    """No job of this run did anything else."""

    def add(self, reason: str, infeasible: bool) -> None:
        """Counts a failure; `infeasible` if the job needs more memory than there is."""
        (self.too_large if infeasible else self.reasons).append(reason)

    def forget(self) -> None:
        """A job did not fail."""
        self.reasons.clear()
        self.too_large.clear()
        self.only = False

    def refuse_hopeless(self, study: str, completed: Callable[[], int]) -> None:
        """Ends a run in which every job fails.

        Args:
            completed: returns how many jobs of the study ever completed.

        Raises:
            TrainingError: the first jobs of this run all failed or did not fit into memory, or no
                job of the study ever completed and the last ones failed for the same reason.
        """
        if self.only and len(self.too_large) >= TOO_LARGE:
            raise TrainingError(
                f"{study}: {len(self.too_large)} trials in a row did not fit into the memory, the last one with: "
                f"{self.too_large[-1]}",
                "Let the sweep search smaller networks and batches, or use a device with more memory. "
                f"`fer-tune trials --failed --study {study}` shows what each one needed. The same command continues.",
            )
        row = self.reasons[-HOPELESS:]
        if len(row) == HOPELESS and (self.only or (len(set(row)) == 1 and completed() == 0)):
            raise TrainingError(
                f"{study}: {len(self.reasons)} trials in a row failed, the last one with: {row[-1]}",
                f"`fer-tune trials --study {study}` lists the reasons. The same command continues.",
            )
