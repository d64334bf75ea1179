"""The engines: where workers run. To add one, name it here, in `EngineName` and in `ENGINES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fer_tune.errors import SettingsError
from fer_tune.pool.devices import Count, choose_devices
from fer_tune.pool.inline import InlinePool
from fer_tune.pool.local import LocalPool
from fer_tune.pool.port import Pool, TrainerFactory

EngineName = Literal["local", "inline"]
"""What `--engine` may be."""


@dataclass(frozen=True)
class PoolEngine:
    """One kind of pool.

    Attributes:
        make: starts a worker for each of these devices. Logs go to the folder. The function makes
            what trains.
        parallel: whether the workers train at the same time. If not, there is one unless the user
            asks for more.
    """

    make: Callable[[Sequence[str], Path, TrainerFactory], Pool]
    parallel: bool = True

    def devices(self, devices: str | None, workers: Count | None) -> list[str]:
        """Returns a device for each worker; see `choose_devices`."""
        if not self.parallel and workers in (None, "auto"):
            workers = 1
        return choose_devices(devices, workers)


ENGINES: dict[EngineName, PoolEngine] = {
    "local": PoolEngine(LocalPool),
    "inline": PoolEngine(lambda devices, logs, trainer: InlinePool(devices, trainer), parallel=False),
}


def engine(name: EngineName) -> PoolEngine:
    """Returns the engine of that name.

    Raises:
        SettingsError: there is none.
    """
    if name not in ENGINES:
        raise SettingsError(f"There is no engine {name}.", f"The engines are {', '.join(ENGINES)}.")
    return ENGINES[name]
