"""A Ray cluster of this machine: a raylet for each node, on the loopback only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from random import Random
from typing import Any

from benchmarks.loopback import loopback_only


class NoRayError(Exception):
    """A cluster cannot be started here."""


class RayNodes:
    """Nodes with the same number of cores.

    Attributes:
        address: for `--ray-address`.
    """

    def __init__(self, nodes: int, cores: int) -> None:
        from ray.cluster_utils import Cluster

        self._cores = cores
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self._numbers = count(1)
        self._nodes: list[tuple[int, Any]] = []
        for _ in range(nodes):
            self.add()
        self.address: str = self._cluster.address

    def lose(self, random: Random) -> str:
        """Kills all processes of a node at once. Returns its number."""
        number, node = self._nodes.pop(random.randrange(len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        return f"{number}"

    def add(self) -> None:
        """Starts another node."""
        self._nodes.append((next(self._numbers), self._cluster.add_node(num_cpus=self._cores)))

    def close(self) -> None:
        """Ends all nodes."""
        self._nodes = []
        self._cluster.shutdown()


@contextmanager
def ray_nodes(nodes: int, cores: int, environment: Mapping[str, str]) -> Iterator[RayNodes]:
    """Yields nodes whose workers have these variables in their environment.

    Raises:
        NoRayError: Ray is not installed, or this user may not make a network.
    """
    try:
        import ray
    except ImportError as error:
        raise NoRayError("Ray is not installed: pip install 'fer-tune[ray]'") from error
    variables: dict[str, Any] = {"RAY_USAGE_STATS_ENABLED": "0", **environment}
    before = {name: os.environ.get(name) for name in variables}
    with loopback_only() as reason:
        if reason:
            raise NoRayError(reason)
        os.environ.update(variables)
        found: RayNodes | None = None
        try:
            found = RayNodes(nodes, cores)
            yield found
        finally:
            with suppress(Exception):
                ray.shutdown()
            if found is not None:
                found.close()
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
