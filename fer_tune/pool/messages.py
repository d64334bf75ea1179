"""Messages between a pool and a worker's process, besides those in `fer_tune.job`."""

from __future__ import annotations

from dataclasses import dataclass

from fer_tune.job import Wish
from fer_tune.pool.port import TrainerFactory


@dataclass(frozen=True)
class Setup:
    """The first message to a worker: its trainer, device and number of threads."""

    trainer: TrainerFactory
    device: str
    threads: int


@dataclass(frozen=True)
class Stop:
    """Asks the worker to end its job. An idle worker ignores it."""

    wish: Wish


class Ready:
    """The first message of a worker: its trainer is ready."""
