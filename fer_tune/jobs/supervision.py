"""How long a trial may be silent and may take, and whether a run is hopeless."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fer_tune.errors import TrainingError

HANG_FACTOR = 20.0
"""A worker may be silent for so many of the run's slowest epochs, and for the sweep's `hang_timeout` at least."""

FIRST_FACTOR = 12.0
"""While no epoch was measured, it may be silent for so many times `hang_timeout`: an hour, by default."""

STOP_GRACE = 10.0
"""Seconds that a worker has to stop a trial whose `trial_timeout` is over, before it is ended."""

HOPELESS = 5
"""So many failures in a row, and nothing but failures, end the run."""

TOO_LARGE = 20
"""So many trials that do not fit into the memory, and none that does anything else, end the run. More than `HOPELESS`:
each of them teaches the sampler where not to look."""


@dataclass
class Pace:
    """How long the epochs of a turn take, and so how long a worker may be silent.

    Args:
        hang_timeout: seconds; see the sweep's key.
    """

    hang_timeout: float
    slowest: float | None = None
    """Seconds."""

    def took(self, seconds: float) -> None:
        """Takes an epoch's duration."""
        self.slowest = max(seconds, self.slowest or 0.0)

    @property
    def patience(self) -> float:
        """Seconds of silence after which a worker hangs."""
        if self.slowest is None:
            return FIRST_FACTOR * self.hang_timeout
        return max(self.hang_timeout, HANG_FACTOR * self.slowest)


@dataclass
class Failures:
    """Failures in a row, to end a run in which nothing works."""

    reasons: list[str] = field(default_factory=list)
    """Of the failures since the last trial that did not fail."""
    too_large: list[str] = field(default_factory=list)
    """Of the trials since then that did not fit into the memory, which are no failures in this sense."""
    only: bool = True
    """No trial of this turn did anything else."""

    def add(self, reason: str, infeasible: bool) -> None:
        """A trial failed; `infeasible` if it needs more memory than there is."""
        (self.too_large if infeasible else self.reasons).append(reason)

    def forget(self) -> None:
        """A trial did not fail."""
        self.reasons.clear()
        self.too_large.clear()
        self.only = False

    def refuse_hopeless(self, study: str, completed: Callable[[], int]) -> None:
        """Ends the run where every trial fails.

        Args:
            completed: says how many trials of the study ever completed.

        Raises:
            TrainingError: the first trials of this turn all failed or did not fit into the memory, or no trial of
                the study ever completed and the last ones failed for one reason.
        """
        if self.only and len(self.too_large) >= TOO_LARGE:
            raise TrainingError(
                f"{study}: {len(self.too_large)} trials in a row did not fit into the memory, the last one with: "
                f"{self.too_large[-1]}",
                "Let the sweep search smaller networks and batches, or use a device with more memory. "
                f"`fer-tune trials --failed --study {study}` says what each one needed; the same command goes on.",
            )
        row = self.reasons[-HOPELESS:]
        if len(row) == HOPELESS and (self.only or (len(set(row)) == 1 and completed() == 0)):
            raise TrainingError(
                f"{study}: {len(self.reasons)} trials in a row failed, the last one with: {row[-1]}",
                f"`fer-tune trials --study {study}` lists the reasons; the same command goes on.",
            )
