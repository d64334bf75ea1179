"""What the orchestrator and a worker say to each other about one training.

A worker is given a `Job`. It answers with one `EpochRow` an epoch and, last, one `JobEnd`.
All three are plain data: they cross process borders and are kept in the database. Importing
them costs neither torch nor Optuna.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Literal

from fer_tune.data.spec import DataRef

Value = bool | int | float | str

Kind = Literal["search", "confirm", "final"]
"""What a job is for: a trial of a search, a winner under another seed, or the final model."""

Part = Literal["train", "train+val"]
"""The part of the data that a job fits."""


def new_uid() -> str:
    """Returns the identity of a new job: 12 hexadecimal digits."""
    return secrets.token_hex(6)


class Wish(IntEnum):
    """What the orchestrator wishes of a running job. All but the first are true."""

    CONTINUE = 0
    STOP_AND_KEEP = 1
    """Finish the epoch and leave a checkpoint, from which the job will continue."""
    STOP = 2
    """Stop at once. It outweighs `STOP_AND_KEEP`, whichever of them came first."""


@dataclass(frozen=True)
class Job:
    """One training: all that a worker must know of it.

    A trial of a search, a confirmation and a final fit differ in their values, not in their type.

    Attributes:
        uid: identifies the job in its storage for ever. Folders, rows and tracker runs are named by
            it.
        study: the study that it belongs to.
        kind: what it is for.
        family: key of `models.FAMILIES`.
        params: every hyperparameter by name, the family's and the training's. An absent one takes
            its default.
        schedule: epochs of the learning-rate schedule: passes over the training images.
        seed: seeds weights, batches, augmentation and dropout.
        data: the images.
        number: Optuna's number of the trial, for a job of a search; None for others.
        name: label of the start configuration that it came from, or None.
        attempt: 0 for the first try, and one more for each try after it.
        objective: name of the `EpochRow` field that is maximised.
        patience: epochs without a better objective after which the job ends by itself; 0 is never.
        until: the epoch at which to stop; None is the end of the schedule.
        fit: `train` fits the training part and evaluates on validation. `train+val` fits both and
            evaluates on nothing.
        artifacts: folder for the files that the job leaves, or None to leave nothing.
        checkpoint: file from which the job continues if it exists, and which it writes; None is
            never.
        checkpoint_seconds: between two writes, at epochs' ends.
    """

    uid: str
    study: str
    kind: Kind
    family: str
    params: dict[str, Value]
    schedule: int
    seed: int
    data: DataRef
    number: int | None = None
    name: str | None = None
    attempt: int = 0
    objective: str = "val_accuracy"
    patience: int = 0
    until: int | None = None
    fit: Part = "train"
    artifacts: Path | None = None
    checkpoint: Path | None = None
    checkpoint_seconds: float = 30.0

    @property
    def last_epoch(self) -> int:
        """The epoch after which nothing is left to train."""
        return self.until or self.schedule

    @property
    def label(self) -> str:
        """The job's name for people: `trial 7`, or `final fit 1f09c2aa01be`."""
        return f"trial {self.number}" if self.number is not None else f"{self.kind} fit {self.uid}"


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
    """Measurements after one epoch. Fractions are in 0..1, losses are mean cross-entropy in nats.

    Attributes:
        job: the uid of the job.
        epoch: counts from 1.
        recall: one entry for each class of the data set; nan where the class is absent.
        lr: learning rate of the epoch's last step.
        seconds: of training and validation.
        images_per_second: training images over `seconds`.

    Validation fields are nan where the job has no validation part.
    """

    job: str
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
    """How an attempt at a job ended.

    Attributes:
        job: the uid of the job.
        status: `completed` (all epochs, or out of patience), `stopped` (asked to), `diverged`
            (a loss that is not finite), `failed` (an exception).
        reason: one line for people; empty for a job that ran all its epochs.
        detail: the traceback of a failure, else empty.
        parameters: number of trainable parameters; 0 if the model was never built.
        notes: what the user should know, such as that the step ran eagerly.
        files: what the job left, by kind: `val_logits` (float16 [V, C], best epoch), `model`.
        infeasible: above 0 where the job failed because it needs more memory than the device has:
            the fraction that it needs more.
    """

    job: str
    attempt: int
    status: End
    reason: str = ""
    detail: str = ""
    parameters: int = 0
    notes: tuple[str, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)
    infeasible: float = 0.0


PRUNED_IN = "pruned in epoch"
"""Prefix of the reason that is recorded when the pruner stops a trial. Trials whose time was over,
or whose loss was not finite, are pruned too, since they keep a value."""


def by_pruner(state: str, reason: str) -> bool:
    """Returns whether the pruner stopped a trial that ended so, which saves the rest of its
    schedule."""
    return state == "pruned" and reason.startswith(PRUNED_IN)


def merged(rows: list[EpochRow], row: EpochRow) -> list[EpochRow]:
    """Adds an epoch to a job's curve: it replaces the same epoch, and all later ones, of earlier
    attempts.

    This is the one rule that says which attempt's epochs count. An attempt that began from the
    start stands alone; one that continued from a checkpoint follows what came before. A row that
    was sent again changes nothing but the attempt it belongs to.
    """
    while rows and rows[-1].epoch >= row.epoch:
        rows.pop()
    rows.append(row)
    return rows
