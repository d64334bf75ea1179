"""What one training has for itself on a device that it shares with others.

On a GPU that is a stream, so that its work overlaps with the others', and a pool of graph memory,
which no graph of another lane may use at the same time. On every device it is a state of the random
numbers: torch has one generator for a device, and each lane puts its own state there for its turn.
A captured graph keeps the state that was there when it was captured.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any
from weakref import WeakSet

import torch

BESIDE = -1
"""Priority of the streams for what runs beside a lane's steps. Torch has 32 streams of a priority
and then gives them out again. So such a stream is never one in which another lane captures."""


class Lane:
    """One lane of a device. Use it as a context manager around each turn of its training.

    Attributes:
        stream: where its work is queued; None on a CPU.
        beside: where work is queued that may run beside that of `stream`; None on a CPU.
        graphs: what was captured in it and still exists.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream: torch.cuda.Stream | None = None
        self.beside: torch.cuda.Stream | None = None
        self.graphs: WeakSet[torch.cuda.CUDAGraph] = WeakSet()
        self._pool: Any = None
        self._entered: Any = None
        self._outside: Any = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.beside = torch.cuda.Stream(device, priority=BESIDE)  # type: ignore[no-untyped-call]
            self._random = self._generator().clone_state()
        else:
            self._random = torch.get_rng_state()

    def pool(self) -> Any:
        """Returns the memory pool for the next graph: that of the others, or a new one.

        Torch refuses a pool whose last graph is gone.
        """
        if not self.graphs:
            self._pool = torch.cuda.graph_pool_handle()
        return self._pool

    def rest(self) -> Iterator[None]:
        """Yields until its device has done what was queued in it."""
        if self.stream is not None:
            event = self.stream.record_event()
            while not event.query():
                yield

    def __enter__(self) -> None:
        if self.stream is None:
            self._outside = torch.get_rng_state()
            torch.set_rng_state(self._random)
            return
        self._entered = torch.cuda.stream(self.stream)
        self._entered.__enter__()
        self._outside = self._generator().graphsafe_get_state()
        self._generator().graphsafe_set_state(self._random)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.stream is None:
            self._random = torch.get_rng_state()
            torch.set_rng_state(self._outside)
            return
        self._generator().graphsafe_set_state(self._outside)
        self._entered.__exit__(kind, error, trace)

    def renew(self) -> None:
        """Gives the lane, which has its turn on a GPU, another state of the random numbers.

        A capture that fails leaves the old state as if it were still being captured, and torch then
        refuses to draw from it. Graphs that were captured before keep the old state.
        """
        self._random = torch.Generator(self.device).graphsafe_get_state()
        self._generator().graphsafe_set_state(self._random)

    def _generator(self) -> Any:
        return torch.cuda.default_generators[self.device.index or 0]
