"""The trainer of one device: each lane trains one job after another, epoch by epoch."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial

import torch

from fer_tune.data.access import open_all, open_search
from fer_tune.errors import FerTuneError
from fer_tune.job import Crowded, EpochRow, Job, JobEnd, StepProgress, Wish
from fer_tune.train.checkpoint import Keeper
from fer_tune.train.config import TrainConfig, configurations, seen
from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.inputs import DeviceData
from fer_tune.train.memory import Memory, TooLargeError, out_of_memory
from fer_tune.train.network_cache import CrowdedError, NetworkCache, NetworkFactory, Room
from fer_tune.train.network_plan import NetworkPlan
from fer_tune.train.rates import lane_rates
from fer_tune.train.training import Training


def never() -> int:
    """Returns that nobody asks to stop."""
    return Wish.CONTINUE


PROGRESS_SECONDS = 1.0
"""Between two messages about the progress within an epoch."""

Message = StepProgress | EpochRow | JobEnd
Said = Message | Crowded | int
"""What a trainer yields; see `pool.port.Trains`."""


class Trainer:
    """Trains jobs on one device: one after another, or several in lanes.

    Images, networks and captured steps stay between jobs.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads that this trainer may use; None leaves torch's choice.
        build, memory: what makes networks, and the device's memory, if they are not the usual ones.

    Attributes:
        hardware: the name of the device, the same for devices of one kind.
    """

    def __init__(
        self,
        device: str,
        threads: int | None = None,
        build: NetworkFactory = DeviceNetwork,
        memory: Memory | None = None,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._threads = torch.get_num_threads()
        self.device = torch.device(device)
        self.hardware = "cpu"
        if self.device.type == "cuda":
            self.device = torch.device("cuda", self.device.index or 0)
            torch.cuda.set_device(self.device)
            torch.backends.cudnn.benchmark = True
            self.hardware = torch.cuda.get_device_name(self.device)
        self._data: dict[tuple[str, str, str], DeviceData] = {}
        self._room = Room(self.device, build, memory)
        self._ended = 0
        self._images = 0

    def train(self, job: Job, stop_requested: Callable[[], int] = never) -> Iterator[Said]:
        """Yields a row after each epoch, progress within epochs, and at last how the job ended.

        Each call trains in a lane of its own, so several iterators can be advanced in turn. Between
        its messages one yields the number of images that it has trained since it last did so, where
        another may have its turn.

        A job that fails says so in its end and raises nothing. The same job gives the same numbers
        twice on the same CPU, also beside other jobs, and also if it continues from its checkpoint:
        then the rows up to there are yielded again, as this attempt's.

        Args:
            stop_requested: asked after each step. Once it answers STOP, the job ends as `stopped`,
                without a row for the present epoch. With STOP_AND_KEEP it finishes the epoch first,
                and leaves a checkpoint.
        """
        cache = self._room.free_lane()
        cache.taken = True
        steps = self._attempt(Training(job), cache, stop_requested)
        try:
            while True:
                with cache.lane:
                    said = next(steps, None)
                if said is None:
                    return
                yield said
        finally:
            with cache.lane:
                steps.close()
            cache.rest()
            cache.taken = False
            self._ended += 1

    def train_alone(self, job: Job, stop_requested: Callable[[], int] = never) -> Iterator[Message]:
        """Trains a job as `train` does, and yields messages only."""
        for said in self.train(job, stop_requested):
            if isinstance(said, EpochRow | JobEnd | StepProgress):
                yield said

    def rates(self, job: Job) -> Generator[float | None, None, None]:
        """Yields the images a second of 1, 2, 4 and so on lanes; see `pool.port.Measures`.

        What goes wrong ends the rates, memory as well. The job itself will say it.
        """
        try:
            yield from lane_rates(self._room, partial(self._network, job))
        except Exception:
            if self._is_lost():
                raise

    def _attempt(
        self, training: Training, cache: NetworkCache, stop_requested: Callable[[], int]
    ) -> Generator[Said, None, None]:
        """Trains a job in a lane, whatever happens to it."""
        if self.device.type == "cpu":
            torch.set_num_threads(training.job.threads or self._threads)
        try:
            with closing(Keeper(training.job)) as keeper:
                yield from self._until_it_ends(training, keeper, cache, stop_requested)
                while keeper.busy:
                    yield 0
            for _ in cache.lane.rest():  # steps of a job that was stopped: what is saved waits for them
                yield 0
            training.notes += tuple(keeper.notes)
            files = yield from training.save()
            training.release()
            cache.rest()  # another lane may need the memory before this one ends
            yield training.message(files=files)
        except TooLargeError as error:
            training.end("failed", error.message)
            yield training.message(infeasible=error.excess)
        except FerTuneError as error:
            training.end("failed", f"{error.message.rstrip('.')}. {error.hint}".strip())
            yield training.message()
        except Exception as error:  # whatever a job does, the worker stays for the next
            if self._is_lost():
                raise  # another process trains this job and those of the other lanes
            said = str(error).strip().splitlines()[0] if str(error).strip() else ""
            training.end("failed", f"{type(error).__name__}: {said}")
            yield training.message(detail=traceback.format_exc())

    def _is_lost(self) -> bool:
        """Returns whether this process has lost its GPU: after some errors, all calls fail."""
        if self.device.type == "cpu":
            return False
        try:
            torch.cuda.synchronize(self.device)
        except RuntimeError:
            return True
        return False

    def _until_it_ends(
        self, training: Training, keeper: Keeper, cache: NetworkCache, stop_requested: Callable[[], int]
    ) -> Iterator[Said]:
        """Trains a job, and trains it again with more memory or in smaller parts if it must."""
        while training.status is None:
            said, crowded = "", False
            try:
                yield from self._epochs(training, keeper, cache, stop_requested)
            except CrowdedError:
                crowded = True
            except Exception as error:
                if not out_of_memory(error):
                    raise
                said = str(error)
            # After the `except`, no traceback holds the frames of the failed step.
            if training.status is not None:
                return
            training.release()
            keeper.write()
            keeper.wait()
            try:
                if not crowded:
                    cache.make_room(self._plan(training.job, cache)[0], said)
            except CrowdedError:
                crowded = True
            if crowded:
                yield Crowded()
                yield from self._wait_for_room(training, cache, stop_requested)

    def _wait_for_room(
        self, training: Training, cache: NetworkCache, stop_requested: Callable[[], int]
    ) -> Iterator[Said]:
        """Waits until another lane has ended its job."""
        job, ended = training.job, self._ended
        while ended == self._ended and self._room.busy_beside(cache):
            if stop_requested():
                return training.end("stopped", "asked to stop while it waited for memory")
            if (now := time.monotonic()) >= training.due:
                training.due = now + PROGRESS_SECONDS
                yield StepProgress(job.uid, job.attempt, len(training.rows) + 1, 0, 0)
            yield 0
        self._room.clear()
        return None

    def images(self, job: Job) -> int:
        """Returns how many images a job is fitted to."""
        return len(self._load(job, self._room.free_lane()).labels)

    def plan(self, job: Job) -> tuple[NetworkPlan, TrainConfig]:
        """Returns what a network is built from in the first free lane, and its numbers."""
        return self._plan(job, self._room.free_lane())

    @property
    def lanes(self) -> list[NetworkCache]:
        """The lanes that have trained so far."""
        return self._room.lanes

    @property
    def latest(self) -> DeviceNetwork:
        """The network of the job that was trained last, in the first lane."""
        return self._room.lanes[0].latest

    def network(self, job: Job) -> DeviceNetwork:
        """Returns a network that is ready for a job, in the first free lane."""
        cache = self._room.free_lane()
        with cache.lane:
            for _ in self._network(job, cache):
                pass
        cache.rest()
        return cache.latest

    def _epochs(
        self, training: Training, keeper: Keeper, cache: NetworkCache, stop_requested: Callable[[], int]
    ) -> Iterator[Said]:
        """Trains until the job ends, from its checkpoint on if there is one."""
        job = training.job
        network = yield from self._network(job, cache)
        training.begin(network)
        training.continue_from(keeper)
        yield from filter(training.to_yield, list(training.rows))
        training.due = time.monotonic() + PROGRESS_SECONDS
        for epoch in range(len(training.rows) + 1, job.last_epoch + 1):
            row = yield from self._epoch(training, keeper, cache, epoch, stop_requested)
            if row is None:
                return training.end("stopped", f"asked to stop in epoch {epoch}")
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
        return training.finish(keeper)

    def _epoch(
        self, training: Training, keeper: Keeper, cache: NetworkCache, epoch: int, stop_requested: Callable[[], int]
    ) -> Generator[Said, None, EpochRow | None]:
        """Trains an epoch. Returns its row, or None if the job was asked to stop at once."""
        job, network = training.job, training.network
        assert network is not None
        started, of_all, before = time.perf_counter(), self._images, 0
        for step in network.train_epoch(epoch):
            if (wish := stop_requested()) == Wish.STOP:
                return None
            if wish == Wish.STOP_AND_KEEP:
                keeper.keep()  # of the epoch before: this one may never end
            if (now := time.monotonic()) >= training.due:
                training.due = now + PROGRESS_SECONDS
                yield StepProgress(job.uid, job.attempt, epoch, step, network.steps_per_epoch)
            images, before = self._count(network, step - before), step
            if not images and self._room.alone(cache):
                network.wait()
            yield images
        network.evaluate()
        if epoch < job.last_epoch:
            network.begin_next(epoch + 1)
        while not (network.finished() or self._room.alone(cache)):  # alone, `read` may wait
            yield 0
        yield self._count(network, network.steps_per_epoch - before)
        return training.row(epoch, network.read(), started, self._images - of_all)

    def _count(self, network: DeviceNetwork, steps: int) -> int:
        """Counts the images of these steps of a job for its device, and returns their number."""
        images = steps * network.batch_size
        self._images += images
        return images

    # -- what stays between jobs ---------------------------------------------------------------

    def _plan(self, job: Job, cache: NetworkCache) -> tuple[NetworkPlan, TrainConfig]:
        family, shape, config = configurations(job.family, job.params)
        data = self._load(job, cache)
        family.with_config(shape).check(seen(data.spec, config).side)
        inputs = self._room.load(lambda: cache.inputs(data, config.crop), cache)
        distils = config.self_distillation > 0
        return NetworkPlan(family, shape, config.batch_size, config.optimizer, distils, inputs, cache.lane), config

    def _network(self, job: Job, cache: NetworkCache) -> Generator[int, None, DeviceNetwork]:
        """Returns the network for the job's shape, with the job's weights and hyperparameters."""
        plan, config = self._plan(job, cache)
        for _ in cache.get(plan):
            yield 0
        network = cache.latest
        network.begin(config, plan.shape, job.seed, job.schedule)
        return network

    def _load(self, job: Job, cache: NetworkCache) -> DeviceData:
        key = (job.data.signature, job.data.split_hash, job.fit)
        if key not in self._data:
            data = open_all(job.data) if job.fit == "all" else open_search(job.data)
            self._data[key] = self._room.load(lambda: DeviceData.load(data, job.fit, self.device), cache)
            if self.device.type == "cuda":
                torch.cuda.current_stream(self.device).synchronize()  # other lanes have streams of their own
        return self._data[key]
