"""Messages between a pool and a worker's process, besides those in `fer_tune.job`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fer_tune.job import Job, Wish
from fer_tune.pool.port import Lanes, Message, TrainerFactory


@dataclass(frozen=True)
class Setup:
    """The first message to a worker: its trainer, device and number of threads."""

    trainer: TrainerFactory
    device: str
    threads: int


@dataclass(frozen=True)
class UseLanes:
    """Sets the number of the worker's lanes; see `Pool.use_lanes`."""

    lanes: Lanes
    remembered: Path | None


@dataclass(frozen=True)
class StartJob:
    """Gives a lane a job."""

    lane: int
    job: Job


@dataclass(frozen=True)
class StopJob:
    """Asks a lane to end its job. An idle lane ignores it."""

    lane: int
    wish: Wish


class Ready:
    """The first message of a worker: its trainer is ready."""


@dataclass(frozen=True)
class Has:
    """The worker has so many lanes now."""

    lanes: int


@dataclass(frozen=True)
class Said:
    """What a lane's job said."""

    lane: int
    message: Message
