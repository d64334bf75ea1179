"""How two trainings of one configuration differ, measured on repeats of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks.search.curves import MEASURES, Curves, Floats

FEWEST = 4
"""Repeats without which the noise is assumed and not measured."""


@dataclass(frozen=True)
class Noise:
    """The differences between seeds, for each measure in the order of `MEASURES`.

    Attributes:
        offset: standard deviation of what shifts the later half of a curve as a whole.
        wiggle: standard deviation of what changes from epoch to epoch.
        memory: share of an epoch's wiggle that the next epoch keeps.
        roughness: the wiggle of the repeated configuration, as `roughness` measures it on one
            curve. Other configurations are rougher or smoother.
        repeats: how many trainings it was measured on; 0 if it is assumed.
    """

    offset: tuple[float, ...]
    wiggle: tuple[float, ...]
    memory: float
    roughness: float
    repeats: int

    def draw(self, epochs: int, factor: float, random: np.random.Generator) -> Floats:
        """Returns the noise of one training: [epochs, measures].

        A better accuracy goes with a lower loss, so all measures share their random numbers.

        Args:
            factor: how much rougher the configuration is than the repeated one.
        """
        steps = random.normal(size=epochs)
        kept = np.empty(epochs)
        kept[0] = steps[0]
        for epoch in range(1, epochs):
            kept[epoch] = self.memory * kept[epoch - 1] + np.sqrt(1 - self.memory**2) * steps[epoch]
        grown = np.minimum(1.0, np.arange(1, epochs + 1) / max(1.0, epochs / 4))
        signs = np.array([-1.0 if name.endswith("loss") else 1.0 for name in MEASURES])
        shift = random.normal() * grown[:, None] * np.array(self.offset)
        drawn: Floats = (shift + factor * kept[:, None] * np.array(self.wiggle)) * signs
        return drawn

    def as_dict(self) -> dict[str, Any]:
        """Returns the noise of the accuracy as the record has it, in points."""
        found = asdict(self)
        index = MEASURES.index("val_accuracy")
        return {
            "seed_offset_points": round(100 * found["offset"][index], 3),
            "epoch_wiggle_points": round(100 * found["wiggle"][index], 3),
            "epoch_memory": round(self.memory, 3),
            "measured_on_seeds": self.repeats,
        }


def measured(curves: Curves) -> Noise:
    """Returns the noise between the repeats of the first start configuration.

    With fewer than `FEWEST` repeats it is assumed: 0.3 points for each of the two kinds.
    """
    repeats = [curve.rows for curve in curves.whole(repeat=True)]
    if len(repeats) < FEWEST:
        scale = tuple(0.003 if "accuracy" in name else 0.01 if "loss" in name else 0.0 for name in MEASURES)
        return Noise(scale, scale, 0.3, 0.003, 0)
    table = np.stack(repeats)
    apart = (table - table.mean(axis=0)) * np.sqrt(len(table) / (len(table) - 1))
    late = apart[:, curves.epochs // 2 :]
    offset = late.mean(axis=1, keepdims=True)
    wiggle = late - offset
    accuracy = wiggle[:, :, MEASURES.index("val_accuracy")]
    together = float((accuracy[:, 1:] * accuracy[:, :-1]).sum()) if accuracy.shape[1] > 1 else 0.0
    power = float((accuracy**2).sum()) or 1.0
    count = late.shape[1]
    # The mean of a wiggle is not a difference between seeds.
    own = np.maximum(0.0, offset.var(axis=(0, 1)) - wiggle.var(axis=(0, 1)) / count)
    seconds = MEASURES.index("seconds")
    offsets, wiggles = np.sqrt(own), wiggle.std(axis=(0, 1))
    offsets[seconds] = wiggles[seconds] = 0.0
    rough = float(np.mean([roughness(rows) for rows in repeats]))
    memory = float(np.clip(together / power, 0.0, 0.95))
    return Noise(tuple(offsets.tolist()), tuple(wiggles.tolist()), memory, rough, len(repeats))


def roughness(rows: Floats) -> float:
    """Returns how much the accuracy of one curve changes from epoch to epoch beside its trend.

    It is the standard deviation that independent noise would have, from second differences.
    """
    accuracy = rows[len(rows) // 3 :, MEASURES.index("val_accuracy")]
    if len(accuracy) < 3:
        return 1e-4
    return max(1e-4, float(np.sqrt(np.mean(np.diff(accuracy, 2) ** 2) / 6)))
