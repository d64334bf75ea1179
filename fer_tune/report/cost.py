"""What the trials of a study cost, and what pruning saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fer_tune.job import EpochRow, by_pruner
from fer_tune.selection.spending import Use, device_seconds
from fer_tune.study import TrialSummary
from fer_tune.study.attempt_spans import AttemptSpan
from fer_tune.study.trial_states import REASON


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
    spans: Iterable[AttemptSpan],
) -> Cost:
    """Returns the cost of trials.

    Args:
        curves: the epochs by the number of the trial.
        schedule: epochs that a trial has if it is not stopped.
        spans: of the attempts at these trials.
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
    wall = device_seconds(Use(0, span.start, span.end) for span in spans)  # as if they shared one device
    return Cost(seconds, epochs, schedule * len(trials), saved, gpu, wall)
