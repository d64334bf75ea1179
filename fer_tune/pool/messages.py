"""What a pool and a worker's process say to each other, besides specs, rows and ends."""

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
    """Asks for an end of the trial that is running; without effect on an idle worker."""

    wish: Wish


class Ready:
    """The worker's first message: its trainer stands."""
