"""How many trials of a search may share its devices, so that some are completed in time."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

PART = 2 / 3
"""The part of a run's time that a whole trial may take.

With eight lanes, a whole trial of vgg took longer than a run of 300 s. One of 29 trials was
completed, and its 62.7 % were 6 points less than a trial that the end cut off.
"""

LATEST = 50
"""Epochs that say how long a whole trial takes."""


class Crowding:
    """Learns from epochs how long a trial takes that shares its device with others.

    Args:
        epochs: of a whole trial.

    Attributes:
        devices: the number of devices that train.
    """

    def __init__(self, epochs: int) -> None:
        self.devices = 1
        self._epochs = epochs
        self._time = 0.0
        self._alone: deque[float] = deque(maxlen=LATEST)

    def heard(self, seconds: float, running: int, left: float) -> None:
        """Records an epoch.

        Args:
            seconds: that it took.
            running: how many trials trained meanwhile, on all devices.
            left: seconds until the run must end; infinite without a limit.
        """
        self._time = max(self._time, left)
        self._alone.append(seconds * min(1.0, self.devices / max(1, running)))

    def most(self) -> float:
        """Returns how many trials may train at the same time, on all devices.

        It is infinite as long as nothing is known, and otherwise at least one for each device.
        """
        if not self._alone or not math.isfinite(self._time):
            return math.inf
        return self.devices * max(1.0, PART * self._time / (self._epochs * median(self._alone)) // 1)
