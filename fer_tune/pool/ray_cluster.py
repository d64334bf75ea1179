"""A Ray cluster: how a run reaches it, and how many workers it has room for.

This module and its two neighbours alone import Ray, and only when a run asks for its engine.
"""

from __future__ import annotations

import logging
import math
import os
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fer_tune.errors import MissingExtraError, SettingsError

REACHED_WITHIN = 5.0
"""Seconds that a cluster's port has to answer."""

START_HINT = (
    "`--ray-address local` starts Ray on this machine for the run. `ray start --head` starts a cluster, "
    "and `ray start --address HEAD:6379` adds a node."
)


@dataclass(frozen=True)
class Claim:
    """What one worker takes of a node.

    Attributes:
        gpus: 1 for a GPU of its own, 1/K for a share, 0 for a worker on the CPU.
        cpus: CPU cores.
    """

    gpus: float
    cpus: int

    @property
    def device(self) -> str:
        """The kind of device, `cuda` or `cpu`."""
        return "cuda" if self.gpus else "cpu"

    def __str__(self) -> str:
        cores = f"{self.cpus} CPU" + ("s" if self.cpus > 1 else "")
        return f"{self.gpus:g} GPU and {cores}" if self.gpus else cores

    def places(self, resources: Mapping[str, float]) -> int:
        """Returns how many such workers a node with these resources can hold."""
        places = int(resources.get("CPU", 0.0)) // self.cpus
        if self.gpus:
            places = min(places, math.floor(resources.get("GPU", 0.0) / self.gpus + 1e-6))
        return places


def claim_of(devices: str | None, auto: bool, nodes: Iterable[Mapping[str, float]]) -> Claim:
    """Returns what each worker takes.

    Args:
        devices: `cpu`, `cuda` (a GPU for each worker) or `cuda/K` (K workers share a GPU). None and
            `auto` mean GPUs, or the CPU if no node has any.
        auto: whether the number of workers follows from the cluster. A worker on the CPU then takes
            two cores, as on one machine, and else one.
        nodes: the resources of each node.

    Raises:
        SettingsError: the device is not valid, or no node has a GPU.
    """
    nodes = list(nodes)
    has_gpus = any(node.get("GPU", 0.0) >= 1 for node in nodes)
    word = devices or "auto"
    if word == "auto":
        word = "cuda" if has_gpus else "cpu"
    if word == "cpu":
        return Claim(0.0, 2 if auto and any(node.get("CPU", 0.0) >= 2 for node in nodes) else 1)
    found = re.fullmatch(r"cuda(?:/([1-9]\d?))?", word)
    if found is None:
        raise SettingsError(
            f"--devices must be cpu, cuda or cuda/K with the engine ray (got {devices}).",
            "Ray chooses the GPU of each worker. cuda/2 lets two workers share a GPU.",
        )
    if not has_gpus:
        raise SettingsError("The Ray cluster has no GPU.", "Use --devices cpu, or add a node that has a GPU.")
    return Claim(1 / int(found[1] or 1), 1)


def import_ray() -> Any:
    """Returns the module `ray`.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a run reports to nobody
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("The engine ray", "ray") from error
    return ray


class Cluster:
    """The cluster that a run uses. There is one connection in a process.

    Args:
        address: `auto` (the cluster of RAY_ADDRESS, or the one that runs on this machine), `local`
            (a new one, which ends with the run), `HOST:PORT`, or `ray://HOST:PORT`. None is `auto`.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: there is no cluster at the address.
    """

    _ours: str | None = None
    """The address of the connection that this class made. A user's own connection is left alone."""

    def __init__(self, address: str | None) -> None:
        self.ray = import_ray()
        self._address = address or "auto"
        if self.ray.is_initialized():
            if Cluster._ours in (None, self._address):
                return
            self.ray.shutdown()
        self._connect()
        Cluster._ours = self._address

    def close(self) -> None:
        """Ends the connection, and a cluster that was started for the run."""
        if Cluster._ours == self._address and self.ray.is_initialized():
            Cluster._ours = None
            self.ray.shutdown()

    def nodes(self) -> list[dict[str, float]]:
        """Returns the resources of each node that is alive."""
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def places(self, claim: Claim) -> int:
        """Returns how many workers with this claim the whole cluster can hold."""
        return sum(map(claim.places, self.nodes()))

    def _connect(self) -> None:
        address = self._address
        port = re.fullmatch(r"(?:ray://)?([^:/]+):(\d{1,5})", address)
        if port is not None:
            _reach(address, port[1], int(port[2]))
        elif address not in ("auto", "local"):
            raise SettingsError(
                f"--ray-address must be auto, local, HOST:PORT or ray://HOST:PORT (got {address}).", START_HINT
            )
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address == "local":
            quiet["include_dashboard"] = False
        try:
            self.ray.init(address=address, namespace="fer-tune", **quiet)
        except ConnectionError as error:
            if address == "auto":
                raise SettingsError("There is no Ray cluster on this machine.", START_HINT) from error
            raise SettingsError(f"{_nothing_at(address)} ({_first_line(error)}).", START_HINT) from error
        except (RuntimeError, ValueError, OSError) as error:
            raise SettingsError(f"Ray cannot connect to {address}: {_first_line(error)}", START_HINT) from error


def _reach(address: str, host: str, port: int) -> None:
    """Checks that something answers. Ray itself would wait for half a minute."""
    try:
        socket.create_connection((host, port), REACHED_WITHIN).close()
    except (OSError, OverflowError) as error:
        raise SettingsError(f"{_nothing_at(address)} ({error}).", START_HINT) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), repr(error))


def _nothing_at(address: str) -> str:
    return f"There is no Ray cluster at {address}"
