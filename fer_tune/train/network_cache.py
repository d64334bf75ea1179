"""The networks that a lane keeps from job to job, and what happens if the memory is too small.

The network that was unused for longest makes room for the next. If that is not enough:

1. All networks that have no job go, those of other lanes too, and the job is tried again.
2. The job waits until another lane has ended its job, and is tried again with that lane's memory.
3. If no other lane has a job, the batch is halved, up to three times. The step then computes its
   gradient in 2, 4 or 8 parts, one after another, and updates once. Only BatchNorm's statistics
   differ: they are those of a part.
4. The job fails, and is marked as one that does not fit.

The device remembers for each network what was too large. The next job of that network begins with
parts that fit, or fails at once. It forgets that when there is markedly more memory, for example
because another process has left the device.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from fer_tune.train.device_network import DeviceNetwork
from fer_tune.train.inputs import DeviceData, Inputs
from fer_tune.train.lane import Lane
from fer_tune.train.memory import LEAST_EXCESS, Memory, TooLargeError, out_of_memory, shown
from fer_tune.train.network_plan import NetworkPlan

MOST_NETWORKS = 8
"""The most networks that a device keeps, but one for each lane. The one that was unused for longest
makes room."""
MORE = 1.1
"""A network that did not fit is tried again with this many times the memory."""

Loaded = TypeVar("Loaded")

NetworkFactory = Callable[[NetworkPlan, int], DeviceNetwork]
"""Makes a network, as `DeviceNetwork` does: from a plan and the number of parts."""


class CrowdedError(Exception):
    """Memory ran out, and another lane has a job: there will be more when that has ended."""


@dataclass(frozen=True)
class _Limit:
    """The smallest part of a network that did not fit.

    Attributes:
        images: in that part.
        needed: the least memory that it needed.
        available: the memory that there was.
    """

    images: int
    needed: int
    available: int


class Room:
    """The memory of one device, which the networks of its lanes share.

    Args:
        build: makes a network.
        memory: of the device.
    """

    def __init__(
        self, device: torch.device, build: NetworkFactory = DeviceNetwork, memory: Memory | None = None
    ) -> None:
        self.device = device
        self.build = build
        self.memory = memory or Memory(device)
        self.limits: dict[Any, _Limit] = {}
        self.seen: set[Any] = set()
        self._builds = False
        self._pause_until = 0.0
        self.lanes: list[NetworkCache] = []

    def free_lane(self) -> NetworkCache:
        """Returns a lane without a job."""
        for cache in self.lanes:
            if not cache.taken:
                return cache
        self.lanes.append(NetworkCache(self))
        return self.lanes[-1]

    def clear(self) -> bool:
        """Lets all networks without a job go. Returns whether there were any."""
        found = [cache.clear() for cache in self.lanes]
        self.memory.release()
        return any(found)

    def may_build(self, cache: NetworkCache) -> bool:
        """Returns whether a lane may build a network now.

        A build keeps the thread from the other lanes. So there is one at a time, and after it the
        other lanes have the thread for half as long as it took.
        """
        waits = self._builds or time.monotonic() < self._pause_until
        return not (waits and self.busy_beside(cache))

    @contextmanager
    def building(self) -> Iterator[None]:
        """Notes that a lane builds a network."""
        began, self._builds = time.monotonic(), True
        try:
            yield
        finally:
            self._builds = False
            now = time.monotonic()
            self._pause_until = now + (now - began) / 2

    def alone(self, cache: NetworkCache) -> bool:
        """Returns whether no other lane than this one has a job."""
        return not any(other.taken for other in self.lanes if other is not cache)

    def busy_beside(self, cache: NetworkCache | None) -> bool:
        """Returns whether another lane than this one trains a job, and so will give memory back."""
        return any(other.busy for other in self.lanes if other is not cache)

    def load(self, images: Callable[[], Loaded], cache: NetworkCache) -> Loaded:
        """Returns what `images` does: the images of jobs. Networks make room for them if they must.

        Raises:
            CrowdedError: there may be memory for it when another lane has ended its job.
            TooLargeError: not even an empty device has memory for it.
        """
        for _ in range(2):
            self.memory.watch()
            try:
                return images()
            except Exception as error:
                if not out_of_memory(error):
                    raise
                said = str(error)
            needed = self.memory.needed(said)
            self.clear()
        if self.busy_beside(cache):
            raise CrowdedError
        available = self.memory.available()
        raise TooLargeError(
            f"the images do not fit into memory: they need more than {shown(needed)}; the device has "
            f"{shown(self.memory.total())}, of which {shown(available)} were free for this worker",
            max(needed / max(available, 1) - 1, LEAST_EXCESS),
            "Other processes may use it: nvidia-smi lists them. `--devices cpu` uses the computer's memory.",
        )


class NetworkCache:
    """A lane with its networks, by plan, and its buffers for an epoch's images.

    Attributes:
        taken: whether the lane has a job.
        busy: whether that job has a network, or builds one.
    """

    def __init__(self, room: Room) -> None:
        self.lane = Lane(room.device)
        self.taken = self.busy = False
        self._using: Any = None  # key of the network that has a job
        self._room = room
        self._inputs: dict[tuple[int, int], Inputs] = {}
        self._held: OrderedDict[Any, DeviceNetwork] = OrderedDict()
        self._parts = 1  # of the last network

    def __len__(self) -> int:
        return len(self._held)

    @property
    def latest(self) -> DeviceNetwork:
        """The network that was used last."""
        return next(reversed(self._held.values()))

    def inputs(self, data: DeviceData, crop: int = 0) -> Inputs:
        """Returns the lane's own buffers for an epoch of these images, or of crops of them."""
        found = self._inputs.get((id(data), crop))
        if found is None:
            found = self._inputs[id(data), crop] = Inputs(data, crop)
        return found

    def get(self, plan: NetworkPlan) -> Iterator[None]:
        """Makes the network of a plan the `latest`; builds it at its first use, in as few parts as
        may fit. Yields where another lane may have its turn.

        Raises:
            TooLargeError: an earlier job has shown that no parts are small enough.
        """
        self.busy = True
        network = self._held.pop(plan.key, None)
        if network is None:
            self._parts = self._fewest(plan)
            yield from self.lane.rest()  # a job that was stopped may have left some steps
            while len(self._held) >= max(1, MOST_NETWORKS // len(self._room.lanes)):
                self._held.popitem(last=False)
            while not self._room.may_build(self):
                yield
            with self._room.building():
                network = yield from self._build(plan)
        self._parts = network.parts
        self._held[plan.key] = network
        self._using = plan.key

    def _build(self, plan: NetworkPlan) -> Generator[None, None, DeviceNetwork]:
        """Builds a network in the parts that may fit."""
        room, seen = self._room, (*plan.convolutions, self._parts)
        alone = not room.busy_beside(self)
        if alone:
            room.memory.watch()
        network = room.build(plan, self._parts)
        yield from network.prepare(alone, seen in room.seen)
        room.seen.add(seen)
        if network.failed:
            self._held.clear()  # their graphs read the random numbers that the lane had before
        return network

    def rest(self) -> None:
        """Keeps the network for a later job: the present one does not need it any more."""
        self._using, self.busy = None, False

    def drop(self, plan: NetworkPlan) -> None:
        """Lets the network of a plan go, because a job of it has failed."""
        self._held.pop(plan.key, None)
        self.rest()

    def make_room(self, plan: NetworkPlan, said: str) -> None:
        """Makes room after memory ran out: the next `get` of the plan needs less, or finds more.

        Nothing may refer to tensors of the failed training any more, not even a traceback.

        Args:
            said: the text of the error.

        Raises:
            CrowdedError: there may be room when another lane has ended its job.
            TooLargeError: there is nothing left to try.
        """
        room = self._room
        needed = room.memory.needed(said)
        self.drop(plan)
        if room.clear():
            return
        if room.busy_beside(self):
            raise CrowdedError
        room.limits[plan.architecture] = _Limit(plan.images(self._parts), needed, room.memory.available())
        self._fewest(plan)

    def clear(self) -> bool:
        """Lets all networks go but the one that has a job. Returns whether there were any."""
        idle = [key for key in self._held if key != self._using]
        for key in idle:
            del self._held[key]
        found = bool(idle)
        if not self.taken:
            found = found or bool(self._inputs)
            self._inputs.clear()
        return found

    def _fewest(self, plan: NetworkPlan) -> int:
        limit, memory = self._room.limits.get(plan.architecture), self._room.memory
        if limit is not None and memory.available() > MORE * limit.available:
            limit = None
        for parts in plan.divisions():
            if limit is None or plan.images(parts) < limit.images:
                return parts
        assert limit is not None
        raise self._too_large(plan, limit)

    def _too_large(self, plan: NetworkPlan, limit: _Limit) -> TooLargeError:
        """Returns the error. Its excess grows with the batch, as feature maps do."""
        smallest = plan.images(plan.divisions()[-1])
        estimate = limit.needed * smallest / limit.images
        return TooLargeError(
            f"{plan.family.name} does not fit into memory with batch_size {plan.batch_size}, not even in parts of "
            f"{smallest} images: {limit.images} need more than {shown(limit.needed)}; the device has "
            f"{shown(self._room.memory.total())}, of which {shown(limit.available)} were free for this worker",
            max(estimate / max(limit.available, 1) - 1, LEAST_EXCESS),
        )
