"""The trackers that the mirror knows. `mirror/tracker.py` says how to add one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from fer_tune.errors import SettingsError
from fer_tune.mirror.tracker import Adapter

GROUP = "fer_tune.trackers"
"""The group of entry points in which a package names its trackers. Each is an `Adapter`."""

OWN = (
    EntryPoint("wandb", "fer_tune.mirror.wandb_tracker:WandbAdapter", GROUP),
    EntryPoint("mlflow", "fer_tune.mirror.mlflow_tracker:MlflowAdapter", GROUP),
    EntryPoint("tensorboard", "fer_tune.mirror.tensorboard_tracker:TensorboardAdapter", GROUP),
)
"""Those of this package, by the same door."""


class Trackers(Mapping[str, Adapter]):
    """The adapters by name. One mirror process copies a study to one tracker."""

    def __getitem__(self, name: str) -> Adapter:
        return _load(_points()[name])

    def __iter__(self) -> Iterator[str]:
        return iter(_points())

    def __len__(self) -> int:
        return len(_points())


TRACKERS = Trackers()


def adapter(name: str) -> Adapter:
    """Returns the adapter of that name.

    Raises:
        SettingsError: there is none, or its package cannot be imported.
    """
    if name not in _points():
        raise SettingsError(f"There is no tracker {name}.", f"The trackers are {', '.join(TRACKERS)}.")
    return TRACKERS[name]


@cache
def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in (*entry_points(group=GROUP), *OWN)}


@cache
def _load(point: EntryPoint) -> Adapter:
    where = f"The tracker {point.name} of {point.value}"
    try:
        made = point.load()()
    except Exception as error:  # a plug-in may raise anything
        raise SettingsError(f"{where} cannot be imported: {error}.", "Repair or remove its package.") from error
    if not isinstance(made, Adapter) or made.name != point.name:
        hint = "fer_tune/mirror/tracker.py says how to write one."
        raise SettingsError(f"{where} must be a subclass of Adapter with the name {point.name}.", hint)
    return made
