"""The engines that stay from job to job, and what happens if the device's memory is too small.

The engine that was unused for longest makes room for the next. If that is not enough:

1. All other engines go, and the job is tried again. They go all at once, because their graphs share
   one pool of memory, which the device gets back with the last of them.
2. The batch is halved, up to three times. The step then computes its gradient in 2, 4 or 8 parts,
one
   after another, and updates once. Only BatchNorm's statistics differ: they are those of a part.
3. The job fails, and is marked as one that does not fit.

The cache remembers for each network what was too large. The next job of that network begins with
parts that fit, or fails at once. The cache forgets it when there is markedly more memory, for
example because another process has left the device.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from fer_tune.train.cuda_graphs import forget_pool
from fer_tune.train.engine import Engine
from fer_tune.train.memory import LEAST_EXCESS, Memory, TooLargeError, out_of_memory, shown
from fer_tune.train.plan import Plan

MOST_ENGINES = 8
"""The most engines that stay. The one that was unused for longest makes room."""
MORE = 1.1
"""A network that did not fit is tried again with this many times the memory."""

Loaded = TypeVar("Loaded")

EngineFactory = Callable[[Plan, int], Engine]
"""Makes an engine, as `Engine` does: from a plan and the number of parts."""


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


class EngineCache:
    """The engines of one device, by plan.

    Args:
        build: makes an engine.
        memory: of the device.
    """

    def __init__(self, device: torch.device, build: EngineFactory = Engine, memory: Memory | None = None) -> None:
        self._device = device
        self._build = build
        self._memory = memory or Memory(device)
        self._held: OrderedDict[Any, Engine] = OrderedDict()
        self._limits: dict[Any, _Limit] = {}
        self._parts = 1  # of the last engine

    def __len__(self) -> int:
        return len(self._held)

    @property
    def latest(self) -> Engine:
        """The engine that was used last."""
        return next(reversed(self._held.values()))

    def get(self, plan: Plan) -> Engine:
        """Returns the engine of a plan, built at its first use in as few parts as may fit.

        Raises:
            TooLargeError: an earlier job has shown that no parts are small enough.
        """
        engine = self._held.pop(plan.key, None)
        if engine is None:
            self._parts = self._fewest(plan)
            while len(self._held) >= MOST_ENGINES:
                self._held.popitem(last=False)
            self._memory.watch()
            engine = self._build(plan, self._parts)
        self._parts = engine.parts
        self._held[plan.key] = engine
        return engine

    def make_room(self, plan: Plan, said: str) -> None:
        """Makes room after memory ran out: the next `get` of the plan needs less, or finds more.

        Nothing may refer to tensors of the failed training any more, not even a traceback.

        Args:
            said: the text of the error.

        Raises:
            TooLargeError: there is nothing left to try.
        """
        needed = self._memory.needed(said)
        self._held.pop(plan.key, None)
        alone = not self._held
        self._clear()
        if alone:
            self._limits[plan.network] = _Limit(plan.images(self._parts), needed, self._memory.available())
            self._fewest(plan)

    def load(self, images: Callable[[], Loaded]) -> Loaded:
        """Returns what `images` does: the images of jobs. Engines make room for them if they must.

        Raises:
            TooLargeError: not even an empty device has memory for it.
        """
        for _ in range(2):
            self._memory.watch()
            try:
                return images()
            except Exception as error:
                if not out_of_memory(error):
                    raise
                said = str(error)
            needed = self._memory.needed(said)
            self._clear()
        available = self._memory.available()
        raise TooLargeError(
            f"the images do not fit into memory: they need more than {shown(needed)}; the device has "
            f"{shown(self._memory.total())}, of which {shown(available)} were free for this worker",
            max(needed / max(available, 1) - 1, LEAST_EXCESS),
            "Other processes may use it: nvidia-smi lists them. `--devices cpu` uses the computer's memory.",
        )

    def _clear(self) -> None:
        """Lets all engines go, and gives their memory back to the device."""
        self._held.clear()
        forget_pool(self._device)
        self._memory.release()

    def _fewest(self, plan: Plan) -> int:
        limit = self._limits.get(plan.network)
        if limit is not None and self._memory.available() > MORE * limit.available:
            limit = None
        for parts in plan.divisions():
            if limit is None or plan.images(parts) < limit.images:
                return parts
        assert limit is not None
        raise self._too_large(plan, limit)

    def _too_large(self, plan: Plan, limit: _Limit) -> TooLargeError:
        """Returns the error. Its excess grows with the batch, as feature maps do."""
        smallest = plan.images(plan.divisions()[-1])
        estimate = limit.needed * smallest / limit.images
        return TooLargeError(
            f"{plan.family.name} does not fit into memory with batch_size {plan.batch_size}, not even in parts of "
            f"{smallest} images: {limit.images} need more than {shown(limit.needed)}; the device has "
            f"{shown(self._memory.total())}, of which {shown(limit.available)} were free for this worker",
            max(estimate / max(limit.available, 1) - 1, LEAST_EXCESS),
        )
