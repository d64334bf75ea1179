"""Pools of workers: the interface that the runner uses, and the engines that implement it.

`InlinePool` trains in this process, `LocalPool` in processes of this machine, and
`ray_pool.RayPool` on a Ray cluster. `engines.py` lists the engines by name.
"""

from fer_tune.pool.devices import choose_devices, threads_each
from fer_tune.pool.inline import InlinePool
from fer_tune.pool.local import LocalPool
from fer_tune.pool.port import (
    EndEvent,
    Event,
    Lanes,
    LanesEvent,
    LostEvent,
    Pool,
    ProgressEvent,
    ReadyEvent,
    RowEvent,
    Slot,
    WorkerInfo,
)

__all__ = [
    "EndEvent",
    "Event",
    "InlinePool",
    "Lanes",
    "LanesEvent",
    "LocalPool",
    "LostEvent",
    "Pool",
    "ProgressEvent",
    "ReadyEvent",
    "RowEvent",
    "Slot",
    "WorkerInfo",
    "choose_devices",
    "threads_each",
]
