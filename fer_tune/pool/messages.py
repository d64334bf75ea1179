"""What a pool and a worker's process say to each other besides jobs and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass

from fer_tune.job import Wish
from fer_tune.pool.port import TrainerFactory


@dataclass(frozen=True)
class Setup:
    """The first message to a worker: what it trains with."""

    trainer: TrainerFactory
    device: str
    threads: int


@dataclass(frozen=True)
class Stop:
    """Asks the running job to end. An idle worker ignores it."""

    wish: Wish


class Ready:
    """The worker's first message: its trainer is ready."""
