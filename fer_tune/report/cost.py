"""What the trials of a study cost, and what pruning saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fer_tune.job import EpochRow, by_pruner
from fer_tune.store import Store
from fer_tune.study import TrialSummary
from fer_tune.study.trial_states import REASON

Span = tuple[datetime, datetime]
"""When something started and ended."""


@dataclass(frozen=True)
class Cost:
    """What the trials of a study cost.

    Attributes:
        seconds: of devices, summed over trials. Trials that share a device share its seconds.
        epochs: that were trained.
        planned: epochs that the trials would have had if none had been stopped.
        saved: seconds that the pruner saved, at each pruned trial's own pace.
        gpu: the part of `seconds` that was spent on GPUs.
        wall: seconds in which at least one trial ran. Pauses between runs do not count.
    """

    seconds: float
    epochs: int
    planned: int
    saved: float
    gpu: float
    wall: float


def cost(
    trials: Sequence[TrialSummary],
    curves: Mapping[int, Sequence[EpochRow]],
    schedule: int,
    spans: Iterable[Span],
) -> Cost:
    """Returns the cost of trials.

    Args:
        curves: the epochs by the number of the trial.
        schedule: epochs that a trial has if it is not stopped.
        spans: see `spans_of`.
    """
    seconds = saved = gpu = 0.0
    epochs = 0
    for trial in trials:
        rows = curves.get(trial.number, [])
        spent = sum(row.device_seconds for row in rows)
        seconds += spent
        gpu += spent if str(trial.attrs.get("device", "")).startswith("cuda") else 0.0
        epochs += len(rows)
        if by_pruner(trial.state, str(trial.attrs.get(REASON, ""))) and rows:
            saved += max(0, schedule - rows[-1].epoch) * spent / len(rows)
    return Cost(seconds, epochs, schedule * len(trials), saved, gpu, _covered(spans))


def spans_of(store: Store, study: str, trials: Iterable[TrialSummary]) -> list[Span]:
    """Returns when each attempt at these trials started and ended.

    Nobody recorded when an attempt of a killed run ended. Such an attempt lasts as long as its
    epochs took.

    Raises:
        StudyError: the study does not exist.
    """
    jobs, spans = {trial.job for trial in trials}, []
    for one in store.jobs.attempts(study):
        if one.job not in jobs:
            continue
        if one.ended is not None and one.status != "lost":
            spans.append((one.started, one.ended))
        else:
            took = _trained(store.epochs.all(study, one.job), one.attempt)
            spans.append((one.started, one.started + timedelta(seconds=took)))
    return spans


def _trained(rows: Sequence[EpochRow], attempt: int) -> float:
    """Returns the seconds of the epochs that an attempt at a job trained.

    An attempt that continued from a checkpoint has the rows before it too.
    """
    before = {(row.epoch, row.seconds) for row in rows if row.attempt < attempt}
    return sum(row.seconds for row in rows if row.attempt == attempt and (row.epoch, row.seconds) not in before)


def _covered(spans: Iterable[Span]) -> float:
    """Returns the seconds that at least one of the spans covers."""
    seconds, until = 0.0, None
    for start, end in sorted(spans):
        if until is None or end > until:
            seconds += (end - (start if until is None else max(start, until))).total_seconds()
            until = end
    return seconds
