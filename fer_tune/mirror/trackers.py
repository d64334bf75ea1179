"""The trackers that the mirror knows. `mirror/tracker.py` says how to add one."""

from __future__ import annotations

from fer_tune.errors import SettingsError
from fer_tune.mirror.tracker import Adapter
from fer_tune.mirror.wandb_tracker import WandbAdapter

TRACKERS: dict[str, Adapter] = {adapter.name: adapter for adapter in (WandbAdapter(),)}
"""By name. One mirror process copies a study to one tracker."""


def adapter(name: str) -> Adapter:
    """Returns the adapter of that name.

    Raises:
        SettingsError: there is none.
    """
    if name not in TRACKERS:
        raise SettingsError(f"There is no tracker {name}.", f"The trackers are {', '.join(TRACKERS)}.")
    return TRACKERS[name]
