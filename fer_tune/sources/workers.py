"""How a run's jobs are trained: its options, and the start of its workers.

A worker needs more than a second to import torch. So a run starts its workers first, and reads its
sweeps, images and database meanwhile. This module imports only what that takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fer_tune.errors import PoolError, SweepError
from fer_tune.pool import Lanes, LocalPool, Pool
from fer_tune.pool.devices import Count
from fer_tune.pool.engines import EngineName, PoolEngine, engine
from fer_tune.pool.port import TrainerFactory, load_trainer
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.mirror import Mode
    from fer_tune.store import Patience


@dataclass(frozen=True)
class RunOptions:
    """How jobs are trained. The sweep or the request says what is trained.

    Attributes:
        workers: number of workers, None or `auto`; see `pool.choose_devices`.
        devices: `cpu`, `cuda`, `cuda:0,cuda:1`, None or `auto`; see `pool.choose_devices`.
        engine: `local` trains in worker processes, `inline` in this process, `ray` on a Ray
            cluster. `inline` has one worker unless `workers` is a number.
        wandb: the mode of the wandb mirror; None lets the mirror choose.
        lanes: how many jobs a worker trains at the same time, or `auto`; see `pool.lane_count`.
            None leaves that to the sweep.
        ray_address: where the Ray cluster is; None means `auto`. See `pool.ray_cluster.Cluster`.
    """

    workers: Count | None = None
    devices: str | None = None
    engine: EngineName = "local"
    wandb: Mode | None = None
    lanes: Lanes | None = None
    ray_address: str | None = None

    @property
    def chosen(self) -> PoolEngine:
        """The engine, which knows its devices and opens its pool."""
        return engine(self.engine, self.ray_address)


@contextmanager
def started(settings: Settings, options: RunOptions) -> Iterator[Pool | None]:
    """Starts the workers of a run whose sweeps are not read yet, and yields them.

    It yields None if they must be started later: on a cluster, in this process, or on a disk that
    refuses their logs at present. They end with the context. A sweep that is not valid leaves
    nothing behind.

    Raises:
        SettingsError: a device does not exist, or the number of workers is not valid.
    """
    pool: Pool | None = None
    if options.engine == "local":
        with suppress(PoolError):
            pool = options.chosen.open(options.devices, options.workers, settings.logs, load_trainer)
    try:
        yield pool
    except SweepError:
        if isinstance(pool, LocalPool):
            pool.undo()
        raise
    finally:
        if pool is not None:
            pool.close(0)


def open_pool(
    settings: Settings,
    options: RunOptions,
    patience: float,
    note: Callable[[str], object],
    *,
    trainer: TrainerFactory = load_trainer,
    most: int | None = None,
) -> Pool:
    """Starts the workers.

    Args:
        patience: seconds to wait for a disk that refuses the logs.
        note: is called with one line when it must wait.
        most: the highest number of workers that have something to do; None means no limit.

    Raises:
        SettingsError: a device does not exist, or the number of workers is not valid.
        PoolError: a worker cannot be started.
    """

    def work() -> Pool:
        return options.chosen.open(options.devices, options.workers, settings.logs, trainer, most)

    try:
        return work()
    except PoolError:  # the disk of the logs may be full or read-only for a while
        return patience_of(settings, patience, note)(work)


def patience_of(settings: Settings, seconds: float, note: Callable[[str], object]) -> Patience:
    """Returns what waits for the storage of a run."""
    from fer_tune.store import Patience

    return Patience(settings.url, seconds, note, run=True)
