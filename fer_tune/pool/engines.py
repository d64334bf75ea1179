"""The engines: where workers run. To add one, name it here, in `EngineName` and in `engine`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from fer_tune.errors import SettingsError
from fer_tune.pool.devices import MOST_WORKERS, Count, choose_devices, refuse_workers
from fer_tune.pool.inline import InlinePool
from fer_tune.pool.local import LocalPool
from fer_tune.pool.port import Pool, TrainerFactory

if TYPE_CHECKING:  # it looks for Ray, which the other engines do without
    from fer_tune.pool.ray_cluster import Claim, Cluster

EngineName = Literal["local", "inline", "ray"]
"""What `--engine` may be."""


class PoolEngine(Protocol):
    """One kind of pool."""

    @property
    def parallel(self) -> bool:
        """Whether the workers train at the same time. If not, there is one unless the user asks for
        more."""
        ...

    def devices(self, devices: str | None, workers: Count | None) -> list[str]:
        """Returns a device for each worker that starts at once.

        Args:
            devices: what the user asked for, such as `cpu`; None and `auto` leave the choice to the
                engine.
            workers: how many workers; None and `auto` mean as many as there is room for.

        Raises:
            SettingsError: there is no such device, or the number is not valid.
        """
        ...

    def open(
        self, devices: str | None, workers: Count | None, logs: Path, trainer: TrainerFactory, most: int | None = None
    ) -> Pool:
        """Starts the workers.

        Args:
            devices, workers: see `devices`.
            logs: the folder for logs.
            trainer: makes what trains.
            most: the highest number of workers that have something to do; None means no limit.

        Raises:
            SettingsError: see `devices`.
            PoolError: a worker cannot be started.
        """
        ...


@dataclass(frozen=True)
class OwnDevices:
    """An engine whose workers use the devices of this machine.

    Attributes:
        make: starts a worker for each of these devices.
    """

    make: Callable[[Sequence[str], Path, TrainerFactory], Pool]
    parallel: bool = True

    def devices(self, devices: str | None, workers: Count | None) -> list[str]:
        """Returns a device for each worker; see `choose_devices`."""
        if not self.parallel and workers in (None, "auto"):
            workers = 1
        return choose_devices(devices, workers)

    def open(
        self, devices: str | None, workers: Count | None, logs: Path, trainer: TrainerFactory, most: int | None = None
    ) -> Pool:
        """Starts a worker for each device."""
        return self.make(self.devices(devices, workers)[:most], logs, trainer)


@dataclass(frozen=True)
class RayEngine:
    """An engine whose workers run on the nodes of a Ray cluster.

    Attributes:
        address: where the cluster is; see `ray_cluster.Cluster`.
    """

    address: str | None = None
    parallel: bool = True

    def devices(self, devices: str | None, workers: Count | None) -> list[str]:
        """Returns `cuda` or `cpu` for each worker. A number of workers is not limited by what the
        cluster has at present: those that find no room wait for the next node."""
        cluster, claim = self._claim(devices, workers)
        return [claim.device] * self._count(cluster, claim, workers)

    def open(
        self, devices: str | None, workers: Count | None, logs: Path, trainer: TrainerFactory, most: int | None = None
    ) -> Pool:
        """Starts the workers. With `auto`, their number grows with the cluster."""
        from fer_tune.pool.ray_pool import RayPool

        cluster, claim = self._claim(devices, workers)
        limit = MOST_WORKERS if most is None else most
        count = min(self._count(cluster, claim, workers), limit)
        return RayPool(cluster, count, claim, logs, trainer, most=limit if _is_auto(workers) else 0)

    def _claim(self, devices: str | None, workers: Count | None) -> tuple[Cluster, Claim]:
        from fer_tune.pool.ray_cluster import Cluster, claim_of

        if not _is_auto(workers):
            refuse_workers(workers, "auto starts as many as the cluster has room for.")
        cluster = Cluster(self.address)
        return cluster, claim_of(devices, _is_auto(workers), cluster.nodes())

    def _count(self, cluster: Cluster, claim: Claim, workers: Count | None) -> int:
        if workers is None or workers == "auto":
            return min(MOST_WORKERS, max(1, cluster.places(claim)))
        return workers


def _is_auto(workers: Count | None) -> bool:
    return workers is None or workers == "auto"


def engine(name: EngineName, address: str | None = None) -> PoolEngine:
    """Returns the engine of that name.

    Args:
        address: of the Ray cluster.

    Raises:
        SettingsError: there is no engine of that name, or an address is given for another one.
    """
    if name not in get_args(EngineName):
        raise SettingsError(f"There is no engine {name}.", f"The engines are {', '.join(get_args(EngineName))}.")
    if address is not None and name != "ray":
        raise SettingsError(f"--ray-address is for the engine ray (got the engine {name}).", "Add --engine ray.")
    if name == "ray":
        return RayEngine(address)
    if name == "inline":
        return OwnDevices(lambda devices, logs, trainer: InlinePool(devices, trainer), parallel=False)
    return OwnDevices(LocalPool)
