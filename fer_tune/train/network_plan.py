"""What a network is built from, and which jobs can share one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fer_tune.models import Family, FamilyConfig
from fer_tune.train.inputs import Inputs
from fer_tune.train.lane import Lane

MOST_PARTS = 8
"""The most parts that a batch is divided into: three halvings."""


@dataclass(frozen=True)
class NetworkPlan:
    """What a network is built from.

    Attributes:
        inputs, lane: those of the lane in which it trains.
    """

    family: Family
    shape: FamilyConfig
    batch_size: int
    optimizer: str
    distils: bool
    inputs: Inputs
    lane: Lane

    @property
    def architecture(self) -> tuple[Any, ...]:
        """Equal for plans whose need of memory differs by the batch size only."""
        return self.family.name, self.shape.shape(), self.optimizer, id(self.inputs.data), self.inputs.spec.side

    @property
    def convolutions(self) -> tuple[Any, ...]:
        """Equal for plans for which cuDNN uses the same algorithms."""
        return self.family.name, self.shape.shape(), self.inputs.spec.side, self.batch_size

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for plans that one network serves."""
        return *self.architecture, self.batch_size, self.distils

    def images(self, parts: int) -> int:
        """Returns how many images a part has at most."""
        return -(-min(self.batch_size, len(self.inputs.data.labels)) // parts)

    def divisions(self) -> list[int]:
        """Returns the numbers of parts to try. BatchNorm needs two images in a part."""
        divisions, whole = [1], self.images(1)
        while 2 * divisions[-1] <= MOST_PARTS and whole // (2 * divisions[-1]) >= 2:
            divisions.append(2 * divisions[-1])
        return divisions
