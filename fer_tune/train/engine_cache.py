"""The engines that stay from trial to trial, and what is done when the device's memory does not suffice.

The engine unused for longest makes room for the next. Where that is not enough, in this order:

1. All other engines go, and the trial is tried as it is. All at once, because their graphs share one pool of memory,
   which the device gets back with the last of them.
2. The batch is halved, up to three times: the step computes its gradient in 2, 4 or 8 parts, one after another, and
   updates once. Images, schedule and loss stay; only BatchNorm's statistics are those of a part.
3. The trial fails, and is marked as one that does not fit.

What was too large once is remembered for each network, so the next trial begins with the parts that fit, or fails at
once. It is forgotten when markedly more memory is there, as where another process has left the device.
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
"""Shapes kept captured at once; the one unused for longest makes room."""
MORE = 1.1
"""So many times the memory that a network did not fit into make it worth another try."""

Loaded = TypeVar("Loaded")

EngineFactory = Callable[[Plan, int], Engine]
"""As `Engine` itself: a plan, and how many parts."""


@dataclass(frozen=True)
class _Limit:
    """The smallest part of a network that did not fit: its images, what it needed at least, and what was there."""

    images: int
    needed: int
    available: int


class EngineCache:
    """EngineCache of one device by plan.

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
        self._parts = 1  # that the last engine was built or found with

    def __len__(self) -> int:
        return len(self._held)

    @property
    def latest(self) -> Engine:
        """The one used last."""
        return next(reversed(self._held.values()))

    def get(self, plan: Plan) -> Engine:
        """The engine of a plan, built at its first use in the fewest parts that are not known to be too large.

        Raises:
            TooLargeError: an earlier trial has shown that none are small enough.
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
        """After memory ran out for a plan: sees to it that the next `get` and training need less, or find more.

        No tensor of the failed training may be referred to any more, by a traceback neither.

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

    def load(self, faces: Callable[[], Loaded]) -> Loaded:
        """Returns what `faces` does: what engines are built on, for which all of them make room if they must.

        Raises:
            TooLargeError: not even an empty device has memory for it.
        """
        for _ in range(2):
            self._memory.watch()
            try:
                return faces()
            except Exception as error:
                if not out_of_memory(error):
                    raise
                said = str(error)
            needed = self._memory.needed(said)
            self._clear()
        available = self._memory.available()
        raise TooLargeError(
            f"the faces do not fit into memory: they need more than {shown(needed)}; the device has "
            f"{shown(self._memory.total())}, of which {shown(available)} were free for this worker",
            max(needed / max(available, 1) - 1, LEAST_EXCESS),
            "Other processes may hold it: nvidia-smi lists them. `--devices cpu` takes the computer's memory.",
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
        """The error, with an excess that grows with the batch: what a step needs is mostly its feature maps."""
        smallest = plan.images(plan.divisions()[-1])
        estimate = limit.needed * smallest / limit.images
        return TooLargeError(
            f"{plan.family.name} does not fit into memory with batch_size {plan.batch_size}, in parts of {smallest} "
            f"images neither: {limit.images} need more than {shown(limit.needed)}; the device has "
            f"{shown(self._memory.total())}, of which {shown(limit.available)} were free for this worker",
            max(estimate / max(limit.available, 1) - 1, LEAST_EXCESS),
        )
