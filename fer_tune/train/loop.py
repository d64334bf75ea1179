"""The trainer of one device: one job after another, each through its epochs to its end."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing

import torch

from fer_tune.data.access import open_all, open_search
from fer_tune.errors import FerTuneError
from fer_tune.job import EpochRow, Job, JobEnd, StepProgress, Wish
from fer_tune.train.checkpoint import Keeper
from fer_tune.train.config import TrainConfig, configurations
from fer_tune.train.engine import Engine
from fer_tune.train.engine_cache import EngineCache, EngineFactory
from fer_tune.train.inputs import DeviceData, Inputs, compute_dtype
from fer_tune.train.memory import Memory, TooLargeError, out_of_memory
from fer_tune.train.plan import Plan
from fer_tune.train.training import Training

PROGRESS_SECONDS = 1.0
"""Between two messages about the progress within an epoch."""


def never() -> int:
    """Returns that nobody asks to stop."""
    return Wish.CONTINUE


class Trainer:
    """Trains one job after another on one device.

    Images, networks and captured steps stay between jobs.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads that this trainer may use; None leaves torch's choice.
        build, memory: what makes engines, and the device's memory, if they are not the usual ones.
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

    def train(self, job: Job, stop_requested: Callable[[], int] = never) -> Iterator[StepProgress | EpochRow | JobEnd]:
        """Yields a row after each epoch, progress within epochs, and at last how the job ended.

        A job that fails says so in its end and raises nothing. The same job gives the same numbers
        twice on the same CPU, also if it continues from its checkpoint: then the rows up to there
        are yielded again, as this attempt's.

        Args:
            stop_requested: asked after each step. Once it answers STOP, the job ends as `stopped`,
                without a row for the present epoch. With STOP_AND_KEEP it finishes the epoch first,
                and leaves a checkpoint.
        """
        training = Training(job)
        try:
            with closing(Keeper(job)) as keeper:
                while training.status is None:
                    said = ""
                    try:
                        yield from self._epochs(training, keeper, stop_requested)
                    except Exception as error:
                        if not out_of_memory(error):
                            raise
                        said = str(error)
                    # After the `except`, no traceback holds the frames of the failed step and their
                    # tensors.
                    if training.status is None:
                        training.release()
                        keeper.write()
                        self._engines.make_room(self._plan(job)[0], said)
            training.notes += tuple(keeper.notes)
            yield training.message(files=training.save())
        except TooLargeError as error:
            training.end("failed", error.message)
            yield training.message(infeasible=error.excess)
        except FerTuneError as error:
            training.end("failed", error.message)
            yield training.message()
        except Exception as error:  # whatever a job does, the worker stays for the next
            said = str(error).strip().splitlines()[0] if str(error).strip() else ""
            training.end("failed", f"{type(error).__name__}: {said}")
            yield training.message(detail=traceback.format_exc())

    def images(self, job: Job) -> int:
        """Returns how many images a job is fitted to."""
        return len(self._load(job).data.labels)

    def _epochs(
        self, training: Training, keeper: Keeper, stop_requested: Callable[[], int]
    ) -> Iterator[StepProgress | EpochRow]:
        """Trains until the job ends, from its checkpoint on if there is one."""
        job, engine = training.job, self._engine(training.job)
        training.begin(engine)
        training.continue_from(keeper)
        yield from filter(training.to_yield, list(training.rows))
        due = time.monotonic() + PROGRESS_SECONDS
        for epoch in range(len(training.rows) + 1, job.last_epoch + 1):
            started = time.perf_counter()
            for step in engine.train_epoch(epoch):
                if (wish := stop_requested()) == Wish.STOP:
                    return training.end("stopped", f"asked to stop in epoch {epoch}")
                if wish == Wish.STOP_AND_KEEP:
                    keeper.write()  # of the epoch before: this one may never end
                if (now := time.monotonic()) >= due:
                    due = now + PROGRESS_SECONDS
                    yield StepProgress(job.uid, job.attempt, epoch, step, engine.steps_per_epoch)
            engine.evaluate()
            if epoch < job.last_epoch:
                engine.begin_next(epoch + 1)
            row = training.row(epoch, engine.read(), started)
            if training.diverged(row):
                return training.end("diverged", f"the loss is not finite in epoch {epoch}")
            if training.to_yield(row):
                yield row
            training.add(row)
            if training.out_of_patience():
                return training.end("completed", f"no better {job.objective} since epoch {training.best_epoch}")
            if epoch == job.last_epoch:
                break
            keeper.remember(training.state)
            if wish := stop_requested():
                if wish == Wish.STOP_AND_KEEP:
                    keeper.write()
                return training.end("stopped", f"asked to stop after epoch {epoch}")
        return training.end("completed")

    # -- what stays between jobs ---------------------------------------------------------------

    def _plan(self, job: Job) -> tuple[Plan, TrainConfig]:
        family, shape, config = configurations(job.family, job.params)
        inputs = self._load(job)
        family.check(inputs.data.spec.side)
        return Plan(family, shape, config.batch_size, config.optimizer, config.self_distillation > 0, inputs), config

    def _engine(self, job: Job) -> Engine:
        """Returns the engine for the job's shape, with the job's weights and hyperparameters."""
        plan, config = self._plan(job)
        engine = self._engines.get(plan)
        engine.begin(config, plan.shape, job.seed, job.schedule)
        return engine

    def _load(self, job: Job) -> Inputs:
        key = (job.data.signature, job.data.split_hash, job.fit)
        if key not in self._inputs:
            data = open_all(job.data) if job.fit == "all" else open_search(job.data)
            dtype = compute_dtype(self.device)
            self._inputs[key] = self._engines.load(lambda: Inputs(DeviceData.load(data, job.fit, self.device), dtype))
        return self._inputs[key]
