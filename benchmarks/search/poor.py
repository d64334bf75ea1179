"""How much of a study's time went to trials that were worse than the median of their rung."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from fer_tune.store import Store


def poor_shares(store: Store, study: str, rungs: Sequence[int]) -> dict[str, float]:
    """Returns two shares of the seconds that a study's trials trained.

    `never_above_median` is of the trials that were below the median at each rung that they reached.
    `below_last` is of those that were below it at the last one. The median of a rung is that of all
    trials that reached it. The end of the schedule counts as a rung.

    Args:
        rungs: epochs at which the trials are compared.
    """
    seconds: dict[str, float] = {}
    reached: dict[str, list[tuple[float, float]]] = {}  # of each trial, its rungs and values
    ends = {job.uid: job.value for job in store.jobs.of(study, "search") if job.state == "complete"}
    for uid, rows in store.epochs.curves(study).items():
        seconds[uid] = sum(row.device_seconds for row in rows)
        reached[uid] = [(row.epoch, row.val_accuracy) for row in rows if row.epoch in rungs]
        if ends.get(uid) is not None:
            reached[uid].append((float("inf"), float(ends[uid] or 0.0)))
    values: dict[float, list[float]] = {}
    for found in reached.values():
        for rung, value in found:
            values.setdefault(rung, []).append(value)
    bars = {rung: median(those) for rung, those in values.items()}
    total = sum(seconds.values()) or 1.0
    never = [uid for uid, found in reached.items() if found and all(value < bars[rung] for rung, value in found)]
    last = [uid for uid, found in reached.items() if found and found[-1][1] < bars[found[-1][0]]]
    return {
        "never_above_median": round(sum(seconds[uid] for uid in never) / total, 4),
        "below_last": round(sum(seconds[uid] for uid in last) / total, 4),
    }
