"""What an epoch cost its device, if other trials shared the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from fer_tune.job import EpochRow
from fer_tune.selection.time_shares import TrainedEpoch

GPU_OVERLAP = 0.2
"""By how much lanes of a GPU overlap; see `cost.Shape.overlap`. Measured at the ends of twelve
searches of deep_cnn and simple_cnn on H100s, with eight lanes; for resnet with four it was 0.2
too."""


@dataclass(frozen=True)
class Share:
    """What an epoch cost its device.

    Attributes:
        seconds: of the device.
        beside: how many trials shared the device.
    """

    seconds: float
    beside: float


def share_of(row: EpochRow, share: float | None) -> Share:
    """Returns what an epoch cost: its share of the time, if others shared the device.

    Args:
        share: None if it is not known.
    """
    seconds = row.device_seconds if share is None or row.device_seconds == row.seconds else share
    return Share(seconds, row.seconds / seconds if seconds else 1.0)


def one_after_another(device: object, rows: Sequence[EpochRow], latest: Sequence[float]) -> list[TrainedEpoch]:
    """Returns when the epochs of a job were trained.

    Args:
        device: where.
        latest: when each had ended at the latest, in seconds. Several may be heard of at once.
    """
    found: list[TrainedEpoch] = []
    until = math.inf
    for row, known in zip(reversed(rows), reversed(latest), strict=True):
        ended = min(until, known)
        until = ended - row.seconds
        found.append(TrainedEpoch(device, until, ended))
    return found[::-1]


def overlap_of(device: str) -> float:
    """Returns by how much the lanes of a device overlap; see `cost.Shape.overlap`."""
    return 0.0 if device.startswith("cpu") else GPU_OVERLAP


def usual_lanes(beside: Sequence[float]) -> int:
    """Returns how many trials a device trained at a time in most epochs, given how many shared it
    in each."""
    return max(1, round(median(beside)))


def overhead_of(lanes: int, seconds: float) -> float:
    """Returns what an attempt costs its device beside its epochs.

    Several lanes train meanwhile, and their epochs contain that time.
    """
    return max(0.0, seconds) if lanes == 1 else 0.0
