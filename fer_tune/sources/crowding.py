"""How many trials of a search may share its devices, so that some are completed in time."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from fer_tune.job import Job
from fer_tune.selection.rungs import RESERVE

PART = 2 / 3
"""The part of a run's time that a whole trial may take.

With eight lanes, a whole trial of vgg took longer than a run of 300 s. One of 29 trials was
completed, and its 62.7 % were 6 points less than a trial that the end cut off.
"""

LATEST = 50
"""Epochs that say how long a whole trial takes."""


class Crowding:
    """Learns from epochs how long a trial takes that shares its device with others.

    Near the end of a run, a new trial delays those that share its device. In three searches of vgg
    of 300 s, the end cut off trials that had three to six of their 80 epochs left. One of them was
    the best. Meanwhile new trials began, and the last of these trained one or two epochs. So a
    trial begins only if it leaves enough time for the others that are on their way to their end.

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
        self._needs: dict[str, float] = {}
        """Seconds that each trial still needs to its end, if it has a device for itself, by uid."""

    def heard(self, job: Job, epoch: int, seconds: float, running: int, left: float) -> None:
        """Records an epoch that was just trained.

        Args:
            seconds: that it took.
            running: how many trials trained meanwhile, on all devices.
            left: seconds until the run must end; infinite without a limit.
        """
        self._time = max(self._time, left)
        self._alone.append(seconds * min(1.0, self.devices / max(1, running)))
        if not job.pauses:
            self._needs[job.uid] = (job.last_epoch - epoch) * self._alone[-1]

    def ended(self, uid: str) -> None:
        """Records that a trial is not trained any more."""
        self._needs.pop(uid, None)

    def most(self, left: float) -> float:
        """Returns how many trials may train at the same time, on all devices.

        It is infinite as long as nothing is known, and otherwise at least one for each device.

        Args:
            left: seconds until the run must end; infinite without a limit.
        """
        if not self._alone or not math.isfinite(self._time):
            return math.inf
        each = PART * self._time / (self._epochs * median(self._alone))
        # Trials that cannot be completed any more, even alone, need not be waited for.
        slowest = max((needed for needed in self._needs.values() if needed <= left), default=0.0)
        if slowest:
            each = min(each, RESERVE * left / slowest)
        return self.devices * max(1.0, each // 1)
