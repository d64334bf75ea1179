"""The messages between the orchestrator and a worker about one job.

The worker gets a `Job`. It sends one `EpochRow` for each epoch and one `JobEnd` at the end. All
three are plain data, because they cross processes and are kept in the database. This module
imports neither torch nor Optuna.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Literal

from fer_tune.data.spec import DataRef

Value = bool | int | float | str

Kind = Literal["search", "confirm", "final"]
"""What a job is for: a trial of a search, a good trial under another seed, or the final model."""

NOUNS: dict[Kind, str] = {"search": "trial", "confirm": "confirmation", "final": "final fit"}
"""What people call a job of each kind."""

ObjectiveOf = Literal["max", "last", "mean_last"]
"""Which epochs decide the objective of a complete training: the best one, the last one, or the
mean of the last few (see `selection.objective`)."""

Part = Literal["train", "train+val", "all"]
"""The part of the data that a job fits. Only a final fit may train on all images, test included."""

Tta = Literal["none", "flip", "crops"]
"""Test-time augmentation: the views of an image whose probabilities are averaged."""


def new_uid() -> str:
    """Returns the identity of a new job: 12 hexadecimal digits."""
    return os.urandom(6).hex()


class Wish(IntEnum):
    """What the orchestrator asks of a running job. All members but `CONTINUE` are true."""

    CONTINUE = 0
    STOP_AND_KEEP = 1
    """Finish the epoch and write a checkpoint, from which the job will continue."""
    STOP = 2
    """Stop at once. It overrides `STOP_AND_KEEP`, in either order."""


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs for one training.

    A trial of a search, a confirmation and a final fit differ in their values, not in their type.

    Attributes:
        uid: identifies the job in its storage for ever. Folders, rows and tracker runs are named by
            it.
        study: name of the study that the job belongs to.
        kind: what the job is for.
        family: key of `models.FAMILIES`.
        params: hyperparameters of the family and of the training, by name. A missing one takes its
            default.
        schedule: epochs of the learning-rate schedule. An epoch is one pass over the training
            images.
        seed: seeds weights, batches, augmentation and dropout.
        data: the images and their split.
        number: Optuna's trial number, for a job of a search; None for others.
        name: label of the start configuration that the job came from, or None.
        attempt: 0 for the first attempt at the job, and one more for each further attempt.
        objective: name of the `EpochRow` field that is maximised.
        objective_of: which epochs decide the objective of the whole training.
        patience: epochs without a better objective after which the job ends by itself; 0 means
            that it does not.
        until: the epoch after which to stop; None means the end of the schedule. A job of a search
            pauses there; see `pauses`.
        fit: `train` trains on the training part and evaluates on validation. `train+val` trains on
            both, and `all` also on test; they evaluate on nothing.
        artifacts: folder for the files that the job leaves; None means that it leaves none.
        checkpoint: file that the job writes, and continues from if it exists; None means no
            checkpoint.
        checkpoint_seconds: shortest time between two checkpoints, which are written at the end of
            an epoch.
        threads: CPU threads that a worker on a CPU takes for it; None is the worker's share of the
            cores. Another number of threads adds in another order, and so rounds differently.
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
    objective_of: ObjectiveOf = "max"
    patience: int = 0
    until: int | None = None
    fit: Part = "train"
    artifacts: Path | None = None
    checkpoint: Path | None = None
    checkpoint_seconds: float = 30.0
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuses a job of a search that would train on test images.

        Raises:
            ValueError: `fit` is `all`, and the job is not a final fit.
        """
        if self.fit == "all" and self.kind != "final":
            raise ValueError(f"a {NOUNS[self.kind]} must not train on test images")

    @property
    def last_epoch(self) -> int:
        """The last epoch that the job trains."""
        return self.until or self.schedule

    @property
    def pauses(self) -> bool:
        """Whether the job pauses after its last epoch. A later attempt continues from the
        checkpoint that it leaves, or trains the first epochs again if they are quick."""
        return self.kind == "search" and self.last_epoch < self.schedule

    @property
    def label(self) -> str:
        """The job's name in messages: `trial 7`, or `final fit 1f09c2aa01be`."""
        return f"{NOUNS[self.kind]} {self.uid if self.number is None else self.number}"


@dataclass(frozen=True)
class StepProgress:
    """How far a job is within an epoch. Sent at most once a second.

    Attributes:
        job: the uid of the job.
        epoch: counts from 1.
        step, steps: optimizer steps done so far in the epoch, and optimizer steps of the whole
            epoch.
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
        recall: one entry for each class of the data set; nan for a class without images.
        lr: learning rate of the epoch's last step.
        seconds: duration of training and validation.
        images_per_second: training images divided by `seconds`.
        device_seconds: the job's share of its device in `seconds`. Lanes that train at the same
            time share it by their images, so that the sum over all lanes counts the device once.

    The `val_` fields and `recall` are nan if the job does not evaluate on validation.
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
    device_seconds: float = math.nan

    def __post_init__(self) -> None:
        if math.isnan(self.device_seconds):  # the job had its device alone
            object.__setattr__(self, "device_seconds", self.seconds)


End = Literal["completed", "paused", "stopped", "diverged", "failed"]


@dataclass(frozen=True)
class JobEnd:
    """How an attempt at a job ended.

    Attributes:
        job: the uid of the job.
        status: `completed` (all epochs, or its patience ended), `paused` (it reached `Job.until`
            and left a checkpoint), `stopped` (the orchestrator asked for it), `diverged` (the loss
            is not finite) or `failed` (an exception).
        reason: why the attempt ended so, one line; empty if the job trained all its epochs.
        detail: the traceback of a failure, else empty.
        parameters: number of trainable parameters; 0 if the model was not built.
        notes: what the user should know, for example that the step ran eagerly.
        files: files that the job left, by kind: `val_logits` (float16 [V, C], of the best epoch, or
            of the last one if the objective is not that of the best), `model`.
        infeasible: above 0 if the job failed because it needs more memory than the device has. It
            is the fraction by which the need exceeds the device's memory.
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


class Crowded:
    """What a trainer says when a job waits until another lane of its device gives memory back."""


OUT_OF_TIME = "time"
"""Reason that is recorded for a job that was stopped because the hours of its run were over."""

PRUNED_IN = "pruned in epoch"
"""Prefix of the reason that is recorded when the pruner stops a trial.

Trials are also pruned because their time was over or their loss was not finite. They have other
reasons.
"""


def by_pruner(state: str, reason: str) -> bool:
    """Returns whether the pruner stopped a trial that ended with this state and reason."""
    return state == "pruned" and reason.startswith(PRUNED_IN)


def merged(rows: list[EpochRow], row: EpochRow) -> list[EpochRow]:
    """Adds an epoch to a job's curve, and returns the curve.

    The epoch replaces the same epoch, and all later ones, of earlier attempts. This is the only
    rule for which epochs count. If an attempt began from the start, only its own epochs count. If
    it continued from a checkpoint, the epochs before the checkpoint count too. A row that was sent
    again changes only the attempt that it belongs to.

    Args:
        rows: the curve, by epoch. It is changed in place.
    """
    while rows and rows[-1].epoch >= row.epoch:
        rows.pop()
    rows.append(row)
    return rows


def trained_by_attempt(rows: Iterable[EpochRow]) -> dict[tuple[str, int], list[EpochRow]]:
    """Returns the epochs that each attempt trained itself, by the uid of the job and the attempt.

    An attempt that continues from a checkpoint has the rows before it too, with the seconds of the
    attempt that trained them. They are left out.
    """
    known: set[tuple[str, int, float]] = set()
    own: dict[tuple[str, int], list[EpochRow]] = {}
    for row in sorted(rows, key=lambda row: (row.attempt, row.epoch)):
        if (row.job, row.epoch, row.seconds) not in known:
            known.add((row.job, row.epoch, row.seconds))
            own.setdefault((row.job, row.attempt), []).append(row)
    return own
