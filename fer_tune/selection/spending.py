"""What a study spent: the time of its devices, and on which trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

AGAIN = "trained again"
FATES = ("reached the top", "promoted", "paused", "pruned", "failed", "unfinished", AGAIN)
"""What can become of the time of a trial, the best first. `AGAIN` is the time of epochs that were
trained a second time, because their checkpoint was removed or their worker was lost."""


@dataclass(frozen=True)
class Use:
    """One use of a worker's device, from its start to its end."""

    worker: int
    start: datetime
    end: datetime


def device_seconds(uses: Iterable[Use]) -> float:
    """Returns for how many seconds devices were in use, summed over the devices.

    Uses of the same worker that overlap count once: a worker has one device.
    """
    total, until = timedelta(), dict[int, datetime]()
    for use in sorted(uses, key=lambda one: one.start):
        start = max(use.start, until.get(use.worker, use.start))
        if use.end > start:
            total += use.end - start
            until[use.worker] = use.end
    return total.total_seconds()


def fate(state: str, epochs: int, rungs: Iterable[int]) -> str:
    """Returns what became of a trial: one of `FATES`, without `AGAIN`.

    Args:
        state: of the trial.
        epochs: that it trained.
        rungs: epochs of the rungs; none if the study pauses no trials. A trial that was pruned
            below the lowest one did not pause: a pruner stopped it, the end of the run's time, or a
            loss that is not finite.
    """
    if state == "complete":
        return "reached the top"
    if state == "failed":
        return "failed"
    if state not in ("paused", "pruned"):
        return "unfinished"
    lowest = min(rungs, default=None)
    if lowest is not None and epochs > lowest:
        return "promoted"
    return "paused" if state == "paused" or epochs == lowest else "pruned"


def shares(spent: Mapping[str, float]) -> str:
    """Returns in words what seconds were spent on: `58 % reached the top, 42 % paused`."""
    total = sum(spent.values())
    parts = [f"{100 * spent[name] / total:.0f} % {name}" for name in FATES if spent.get(name, 0.0) > 0] if total else []
    return ", ".join(parts)
