"""What a trainer remembers of a job: its rows, the best epoch, and how it ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from fer_tune.errors import StorageError
from fer_tune.files import replace_file
from fer_tune.job import End, EpochRow, Job, JobEnd
from fer_tune.train.checkpoint import Keeper, State
from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.export import save_model
from fer_tune.train.metrics import Measured, scores

SAVE_SECONDS = 240.0
"""Seconds that a trained model waits for a full disk. A worker may be silent for longer."""

WORTH_KEEPING = 0.3
"""Device-seconds of training that are worth a checkpoint at a rung.

Three of four trials do not continue from there. Writing a checkpoint takes about a tenth of a
second."""

SAVE_PAUSE = 1.0
"""Seconds between two tries to save a model."""


@dataclass
class Training:
    """One job in training, from its first epoch or a checkpoint to its end.

    Attributes:
        network: trains it; None before the first epoch, and after memory ran out.
        rows: of all epochs so far.
        best, best_epoch: of the objective; -inf and 0 before the first epoch.
        logits: of the epoch that decides the objective, float32 [V, classes].
        yielded: the last epoch whose row was yielded. A training that begins again in smaller parts
            yields none twice.
        due: when to say next how far the job is, by `time.monotonic`.
        parameters, notes: of the network.
        status, reason: how it ended; None while it trains.
    """

    job: Job
    network: DeviceNetwork | None = None
    rows: list[EpochRow] = field(default_factory=list)
    best: float = -math.inf
    best_epoch: int = 0
    logits: Tensor | None = None
    yielded: int = 0
    due: float = 0.0
    parameters: int = 0
    notes: tuple[str, ...] = ()
    status: End | None = None
    reason: str = ""

    def begin(self, network: DeviceNetwork) -> None:
        """Begins the job, or begins it again on another network."""
        self.network = network
        self.rows, self.best, self.best_epoch, self.logits = [], -math.inf, 0, None
        self.parameters, self.notes = network.parameters, network.notes

    def continue_from(self, keeper: Keeper) -> None:
        """Takes the state of the job's checkpoint, if there is a sound one."""
        assert self.network is not None
        if not keeper.wanted:
            return
        found = keeper.load({name: tensor.shape for name, tensor in self.network.state().items()})
        if found is None:
            return
        self.network.restore(found.tensors)
        self.rows, self.best, self.best_epoch = list(found.rows), found.best, found.best_epoch
        self.logits = None if found.logits is None else found.logits.to(self.network.device)

    def to_yield(self, row: EpochRow) -> bool:
        """Returns whether the row was not yielded yet. Each epoch is, once."""
        fresh, self.yielded = row.epoch > self.yielded, max(row.epoch, self.yielded)
        return fresh

    def row(self, epoch: int, measured: Measured, started: float, of_all: int) -> EpochRow:
        """Returns the row of an epoch.

        Args:
            started: when it started, by `time.perf_counter`.
            of_all: the images that all lanes of the device have trained since then.
        """
        assert self.network is not None
        seconds = time.perf_counter() - started
        images = self.network.steps_per_epoch * self.network.batch_size
        score = scores(measured.confusion)
        return EpochRow(
            job=self.job.uid,
            attempt=self.job.attempt,
            epoch=epoch,
            train_loss=measured.train_loss,
            train_accuracy=measured.train_accuracy,
            val_loss=measured.val_loss,
            val_accuracy=score.accuracy,
            val_macro_f1=score.macro_f1,
            val_balanced_accuracy=score.balanced_accuracy,
            recall=score.recall,
            lr=self.network.last_lr(epoch),
            seconds=seconds,
            images_per_second=images / seconds,
            device_seconds=seconds * images / max(images, of_all),
        )

    def add(self, row: EpochRow) -> None:
        """Adds an epoch, and keeps its logits if it decides the objective so far."""
        assert self.network is not None
        self.rows.append(row)
        value = getattr(row, self.job.objective)
        if value > self.best:
            self.best, self.best_epoch = value, row.epoch
        if self.best_epoch == row.epoch or self.job.objective_of != "max":
            self.logits = self.network.logits.clone()

    def diverged(self, row: EpochRow) -> bool:
        """Returns whether a loss is not finite. A final fit has no validation loss."""
        return not math.isfinite(row.train_loss) or (self.job.fit == "train" and not math.isfinite(row.val_loss))

    def out_of_patience(self) -> bool:
        """Returns whether the objective has not improved for as many epochs as the job allows."""
        return bool(self.job.patience) and len(self.rows) - self.best_epoch >= self.job.patience

    def state(self) -> State:
        """Returns all that is needed to continue from here."""
        assert self.network is not None
        return State(tuple(self.rows), self.best, self.best_epoch, self.logits, self.network.state())

    def release(self) -> None:
        """Lets go of everything that is in the device's memory."""
        self.network = self.logits = None

    def end(self, status: End, reason: str = "") -> None:
        """Says how the training ended."""
        self.status, self.reason = status, reason

    def finish(self, keeper: Keeper) -> None:
        """Ends a training after its last epoch. A job that pauses there leaves a checkpoint, unless
        its epochs are trained again as quickly."""
        if self.job.pauses and sum(row.device_seconds for row in self.rows) >= WORTH_KEEPING:
            keeper.remember(self.state)
            keeper.write()
        self.end("paused" if self.job.pauses else "completed")

    def message(self, detail: str = "", files: dict[str, Path] | None = None, infeasible: float = 0.0) -> JobEnd:
        """Returns the end as a message."""
        assert self.status is not None
        return JobEnd(
            job=self.job.uid,
            attempt=self.job.attempt,
            status=self.status,
            reason=self.reason,
            detail=detail,
            parameters=self.parameters,
            notes=self.notes,
            files=files or {},
            infeasible=infeasible,
        )

    def save(self) -> Generator[int, None, dict[str, Path]]:
        """Writes what the job leaves; returns the files by kind. Yields 0 while a full disk makes
        it wait.

        Raises:
            StorageError: the disk refused the model. A disk that refuses the logits is noted.
        """
        job, network = self.job, self.network
        if job.artifacts is None or network is None:
            return {}
        files = {}
        if job.kind == "final" and self.status == "completed":
            yield from _patiently(partial(save_model, job.artifacts, job, network.state_dict(), network.data))
            files = {"model": job.artifacts / "model.safetensors", "config": job.artifacts / "config.json"}
        if job.fit == "train" and self.logits is not None and self.status in {"completed", "stopped"}:
            try:
                files["val_logits"] = _save_logits(job.artifacts, self.logits)
            except StorageError as error:
                self.notes += (f"val_logits were not kept: {error.message}",)
        return files


def _save_logits(folder: Path, logits: Tensor) -> Path:
    """Writes float16 [V, classes]."""
    path = folder / "val_logits.npy"
    replace_file(path, lambda file: np.save(file, logits.half().cpu().numpy(), allow_pickle=False))
    return path


def _patiently(save: Callable[[], object]) -> Iterator[int]:
    """Calls `save` again while the disk refuses: a model that is trained is worth the wait.

    It yields 0 while it waits, so that other lanes continue.

    Raises:
        StorageError: the disk still refuses after SAVE_SECONDS.
    """
    deadline = time.monotonic() + SAVE_SECONDS
    while True:
        try:
            save()
            return
        except StorageError:
            if time.monotonic() > deadline:
                raise
        again = time.monotonic() + SAVE_PAUSE
        while time.monotonic() < again:
            yield 0
