"""What an epoch costs a device that several trials share: its share of the time.

`device_seconds` of an epoch is its share by images. It counts the device once. But the neighbours
of a slow network pay for it, so all trials seem to cost nearly the same. Here trials that train at
the same time have equal shares of that time, and a slow network needs more of it. What this was
measured on is in benchmarks/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TrainedEpoch:
    """An epoch that was trained.

    Attributes:
        device: where, such as the number of the worker.
        started, ended: in seconds, of any clock that all epochs share.
    """

    device: object
    started: float
    ended: float


def time_shares(epochs: Sequence[TrainedEpoch]) -> list[float]:
    """Returns the device-seconds of each epoch."""
    found = [0.0] * len(epochs)
    for device in dict.fromkeys(epoch.device for epoch in epochs):
        places = [place for place, epoch in enumerate(epochs) if epoch.device == device]
        started, ended = np.array([(epochs[place].started, epochs[place].ended) for place in places]).T
        times, where = np.unique(np.concatenate([started, ended]), return_inverse=True)
        changes = np.zeros(len(times))
        np.add.at(changes, where, np.repeat([1.0, -1.0], len(places)))
        training = np.maximum(np.cumsum(changes)[:-1], 1.0)  # between each time and the next one
        passed = np.concatenate([[0.0], np.cumsum(np.diff(times) / training)])
        own = passed[where[len(places) :]] - passed[where[: len(places)]]
        for place, seconds in zip(places, own.tolist(), strict=True):
            found[place] = seconds
    return found
