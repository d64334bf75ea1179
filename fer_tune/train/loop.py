"""The life of a trial on one device: epochs, early stopping, how it ended."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fer_tune.data.access import open_search
from fer_tune.errors import FerTuneError, StorageError
from fer_tune.files import replace_file
from fer_tune.job import End, EpochRow, Job, JobEnd, Wish
from fer_tune.train.checkpoint import Keeper, State
from fer_tune.train.config import TrainConfig, configurations
from fer_tune.train.engine import Engine, Measured, Plan
from fer_tune.train.engine_cache import EngineCache, EngineFactory
from fer_tune.train.export import save_model
from fer_tune.train.inputs import DeviceData, Inputs, compute_dtype
from fer_tune.train.memory import Memory, TooLargeError, out_of_memory
from fer_tune.train.metrics import scores


def never() -> int:
    """Nobody asks to stop."""
    return Wish.CONTINUE


@dataclass
class _Progress:
    """What early stopping, a checkpoint and the trial's end need to remember.

    Attributes:
        told: epochs whose rows were yielded; a training that begins again in smaller steps yields none of them twice.
        parameters, notes: of the engine.
    """

    rows: list[EpochRow] = field(default_factory=list)
    best: float = -math.inf
    best_epoch: int = 0
    logits: Tensor | None = None
    told: int = 0
    parameters: int = 0
    notes: tuple[str, ...] = ()

    def begin(self, engine: Engine) -> None:
        """A training begins, or begins again on another engine."""
        self.rows, self.best, self.best_epoch, self.logits = [], -math.inf, 0, None
        self.parameters, self.notes = engine.parameters, engine.notes

    def new(self, row: EpochRow) -> bool:
        """Whether the row is to be yielded."""
        untold, self.told = row.epoch > self.told, max(row.epoch, self.told)
        return untold

    def add(self, row: EpochRow, value: float, engine: Engine) -> None:
        """Takes an epoch; `value` is its objective."""
        self.rows.append(row)
        if value > self.best:
            self.best, self.best_epoch = value, row.epoch
            self.logits = engine.logits.clone()

    def state(self, engine: Engine) -> State:
        """All that is needed to go on from here."""
        return State(tuple(self.rows), self.best, self.best_epoch, self.logits, engine.state())


class Trainer:
    """Trains one trial after another on one device; faces, networks and captured steps stay between trials.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads that this trainer may use; None leaves torch's choice.
        build, memory: what makes engines, and the device's memory, where they are not the usual ones.
    """

    def __init__(
        self, device: str, threads: int | None = None, build: EngineFactory = Engine, memory: Memory | None = None
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.device = torch.device(device)
        if self.device.type == "cuda":
            self.device = torch.device("cuda", self.device.index or 0)
            torch.cuda.set_device(self.device)
            torch.backends.cudnn.benchmark = True
        self._inputs: dict[tuple[str, str, str], Inputs] = {}
        self._engines = EngineCache(self.device, build, memory)

    def train(self, spec: Job, stop_requested: Callable[[], int] = never) -> Iterator[EpochRow | JobEnd]:
        """Yields a row after each epoch and, last, how the trial ended; a trial that fails says so and raises nothing.

        The same spec gives the same numbers twice on the same CPU, also where it goes on from its checkpoint: then
        the rows up to there are yielded again, as this attempt's.

        Args:
            stop_requested: asked often. Once it answers STOP, the trial ends as `stopped` without a row for the epoch
                it was in; with STOP_AND_KEEP it finishes the epoch first, and leaves a checkpoint.
        """
        progress = _Progress()
        try:
            with closing(Keeper(spec)) as keeper:
                engine, status, reason = yield from self._fitted(spec, keeper, progress, stop_requested)
            progress.notes += tuple(keeper.notes)
            yield self._end(spec, engine, progress, status, reason)
        except TooLargeError as error:
            yield self._failed(spec, progress, error.message, infeasible=error.excess)
        except FerTuneError as error:
            yield self._failed(spec, progress, error.message)
        except Exception as error:  # whatever a trial does, the worker lives on to the next
            reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            yield self._failed(spec, progress, reason, traceback.format_exc())

    def _fitted(
        self, spec: Job, keeper: Keeper, progress: _Progress, stop_requested: Callable[[], int]
    ) -> Generator[EpochRow, None, tuple[Engine, End, str]]:
        """Trains and, where memory runs out, trains again in what room can be made, from the last epoch's end on."""
        while True:
            engine: Engine | None = None
            try:
                engine = self._engine(spec)
                return engine, *(yield from self._epochs(spec, engine, keeper, progress, stop_requested))
            except Exception as error:
                if not out_of_memory(error):
                    raise
                said = str(error)
            # Here, out of the `except`, no traceback keeps the frames of the failed step and their tensors.
            engine = progress.logits = None
            keeper.write()
            self._engines.make_room(self._plan(spec)[0], said)

    def images(self, spec: Job) -> int:
        """How many images a trial is fitted to."""
        return len(self._load(spec).faces.labels)

    def _failed(self, spec: Job, progress: _Progress, reason: str, detail: str = "", infeasible: float = 0.0) -> JobEnd:
        return JobEnd(
            job=spec.uid,
            attempt=spec.attempt,
            status="failed",
            reason=reason,
            detail=detail,
            parameters=progress.parameters,
            notes=progress.notes,
            infeasible=infeasible,
        )

    def _epochs(
        self, spec: Job, engine: Engine, keeper: Keeper, progress: _Progress, stop_requested: Callable[[], int]
    ) -> Generator[EpochRow, None, tuple[End, str]]:
        """Trains to the end, and returns which end it was."""

        def at_once() -> bool:
            wish = stop_requested()
            if wish == Wish.STOP_AND_KEEP:
                keeper.write()  # of the epoch before: the end of this one may never come
            return wish == Wish.STOP

        progress.begin(engine)
        yield from _go_on(engine, keeper, progress)
        for epoch in range(len(progress.rows) + 1, spec.last_epoch + 1):
            started = time.perf_counter()
            if not engine.train_epoch(epoch, at_once):
                return "stopped", f"asked to stop in epoch {epoch}"
            measured = engine.measure(epoch + 1 if epoch < spec.last_epoch else None)
            row = self._row(spec, engine, epoch, measured, started)
            if not math.isfinite(row.train_loss) or (spec.fit == "train" and not math.isfinite(row.val_loss)):
                return "diverged", f"the loss is not finite in epoch {epoch}"
            if progress.new(row):
                yield row
            progress.add(row, getattr(row, spec.objective), engine)
            if spec.patience and epoch - progress.best_epoch >= spec.patience:
                return "completed", f"no better {spec.objective} since epoch {progress.best_epoch}"
            if keeper.wanted and epoch < spec.last_epoch:
                keeper.remember(progress.state(engine))
            if stop_requested() == Wish.STOP_AND_KEEP and epoch < spec.last_epoch:
                keeper.write()
                return "stopped", f"asked to stop in epoch {epoch}"
        return "completed", ""

    def _row(self, spec: Job, engine: Engine, epoch: int, measured: Measured, started: float) -> EpochRow:
        seconds = time.perf_counter() - started
        score = scores(measured.confusion)
        return EpochRow(
            job=spec.uid,
            attempt=spec.attempt,
            epoch=epoch,
            train_loss=measured.train_loss,
            train_accuracy=measured.train_accuracy,
            val_loss=measured.val_loss,
            val_accuracy=score.accuracy,
            val_macro_f1=score.macro_f1,
            val_balanced_accuracy=score.balanced_accuracy,
            recall=score.recall,
            lr=engine.last_lr(epoch),
            seconds=seconds,
            images_per_second=engine.steps_per_epoch * engine.batch_size / seconds,
        )

    def _end(self, spec: Job, engine: Engine, progress: _Progress, status: End, reason: str) -> JobEnd:
        files: dict[str, Path] = {}
        if spec.artifacts is not None and status in ("completed", "stopped"):
            if spec.fit == "train+val" and status == "completed":
                save_model(spec.artifacts, spec, engine.state_dict(), engine.faces.mean, engine.faces.std)
                files["model"] = spec.artifacts / "model.safetensors"
                files["config"] = spec.artifacts / "config.json"
            elif spec.fit == "train" and progress.logits is not None:
                try:
                    files["val_logits"] = _save_logits(spec.artifacts, progress.logits)
                except StorageError as error:  # a disk that refuses costs the file, not the trial
                    progress.notes += (f"val_logits were not kept: {error.message}",)
        return JobEnd(
            job=spec.uid,
            attempt=spec.attempt,
            status=status,
            reason=reason,
            parameters=engine.parameters,
            notes=progress.notes,
            files=files,
        )

    # -- what stays between trials ------------------------------------------------------------------------

    def _plan(self, spec: Job) -> tuple[Plan, TrainConfig]:
        family, shape, config = configurations(spec.family, spec.params)
        return Plan(
            family, shape, config.batch_size, config.optimizer, config.self_distillation > 0, self._load(spec)
        ), config

    def _engine(self, spec: Job) -> Engine:
        """The engine for the trial's shape, made at its first use, with the trial's weights and hyperparameters."""
        plan, config = self._plan(spec)
        engine = self._engines.get(plan)
        engine.begin(config, plan.shape, spec.seed, spec.schedule)
        return engine

    def _load(self, spec: Job) -> Inputs:
        key = (spec.data.signature, spec.data.split_hash, spec.fit)
        if key not in self._inputs:
            data, dtype = open_search(spec.data), compute_dtype(self.device)
            self._inputs[key] = self._engines.load(lambda: Inputs(DeviceData.load(data, spec.fit, self.device), dtype))
        return self._inputs[key]


def _go_on(engine: Engine, keeper: Keeper, progress: _Progress) -> Iterator[EpochRow]:
    """Takes over the trial's checkpoint, if there is a sound one, and yields its rows."""
    found = keeper.load({name: tensor.shape for name, tensor in engine.state().items()}) if keeper.wanted else None
    if found is not None:
        engine.restore(found.tensors)
        progress.best, progress.best_epoch = found.best, found.best_epoch
        progress.logits = None if found.logits is None else found.logits.to(engine.device)
        for row in found.rows:
            progress.rows.append(row)
            if progress.new(row):
                yield row


def _save_logits(folder: Path, logits: Tensor) -> Path:
    """Writes float16 [V, 7]."""
    path = folder / "val_logits.npy"
    replace_file(path, lambda file: np.save(file, logits.half().cpu().numpy(), allow_pickle=False))
    return path
