"""What the orchestrator and a worker say to each other.

A worker is given a `Job`; it answers with one `EpochRow` an epoch and, last, one
`JobEnd`. All three are plain data: they cross process borders and lie in the database,
and importing them costs neither torch nor Optuna.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Literal

from fer_tune.data.spec import DataRef

Value = bool | int | float | str


class Wish(IntEnum):
    """What is wished of a running trial; all but the first are true."""

    GO_ON = 0
    STOP = 1
    STOP_AND_KEEP = 2
    """Leave a checkpoint, from which the trial will go on."""


@dataclass(frozen=True)
class Job:
    """All that a worker must know to train one trial.

    Attributes:
        study, number: the trial's identity in Optuna.
        attempt: 0 for the first try; a retried trial counts up.
        family: key of `models.FAMILIES`.
        params: every hyperparameter by name, the family's and the training's; what is
            absent takes its default.
        epochs: length of the schedule, in passes over the training images.
        seed: seeds weights, batches, augmentation and dropout.
        data: the faces.
        objective: name of the `EpochRow` field that is maximised.
        patience: epochs without a better objective after which the trial ends by itself; 0 is never.
        last: the epoch after which the trial ends, be the schedule over or not; None is its end.
        fit: `train` fits the training part and evaluates on validation; `train+val` fits both
            and evaluates on nothing (a final fit).
        artifacts: folder for what the trial leaves, or None to leave nothing.
        checkpoint: file from which the trial goes on if it is there, and which it writes; None is never.
        checkpoint_seconds: between two writes, at epochs' ends.
    """

    study: str
    number: int
    family: str
    params: dict[str, Value]
    epochs: int
    seed: int
    data: DataRef
    attempt: int = 0
    objective: str = "val_accuracy"
    patience: int = 0
    last: int | None = None
    fit: Literal["train", "train+val"] = "train"
    artifacts: Path | None = None
    checkpoint: Path | None = None
    checkpoint_seconds: float = 30.0

    @property
    def final_epoch(self) -> int:
        """The epoch after which nothing is left to train."""
        return self.last or self.epochs


@dataclass(frozen=True)
class StepProgress:
    """How far a job is within an epoch. Sent at most once a second.

    Attributes:
        epoch: counts from 1.
        step, steps: optimizer steps that are done, and those of the whole epoch.
    """

    job: str
    attempt: int
    epoch: int
    step: int
    steps: int


@dataclass(frozen=True)
class EpochRow:
    """Measurements after one epoch; fractions are in 0..1, losses are mean cross-entropy in nats.

    `epoch` counts from 1. `recall` has one entry for each class of `EMOTIONS` (nan where the
    class is absent). Validation fields are nan in a final fit. `lr` is the rate of the epoch's last step;
    `seconds` covers training and validation; `images_per_second` counts training images over `seconds`.
    """

    number: int
    attempt: int
    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    val_balanced_accuracy: float
    recall: tuple[float, ...]
    lr: float
    seconds: float
    images_per_second: float


End = Literal["completed", "stopped", "diverged", "failed"]


@dataclass(frozen=True)
class JobEnd:
    """How a trial ended.

    Attributes:
        status: `completed` (all epochs, or out of patience), `stopped` (asked to), `diverged`
            (a loss that is not finite), `failed` (an exception).
        reason: one line for people; empty for a trial that ran all its epochs.
        detail: the traceback of a failure, else empty.
        parameters: number of trainable parameters, 0 if the model was never built.
        notes: what the user should know, such as that the step ran eagerly.
        files: what the trial left, by kind: `val_logits` (float16 [V, 7], best epoch).
        infeasible: above 0 where the trial failed because it needs more memory than the device has: the
            fraction that it needs more.
    """

    number: int
    attempt: int
    status: End
    reason: str = ""
    detail: str = ""
    parameters: int = 0
    notes: tuple[str, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)
    infeasible: float = 0.0


PRUNED_IN = "pruned in epoch"
"""How the reason of a trial begins that the pruner stopped. Others are pruned too, since they keep a value: those for
whom time was over, or whose loss was not finite."""


def by_pruner(state: str, reason: str) -> bool:
    """Whether a trial that ended so was stopped by the pruner, which saves what was left of it."""
    return state == "pruned" and reason.startswith(PRUNED_IN)
