"""Learning curves as a line of block characters, all on one scale so that they can be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Scale:
    """The values that the lowest and the highest block stand for."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Scale:
        """Returns the scale from the lowest to the highest finite value."""
        finite = [value for value in values if math.isfinite(value)]
        return cls(min(finite, default=0.0), max(finite, default=1.0))

    def sparkline(self, values: Sequence[float], cells: int) -> Text:
        """Returns a block for each value, or where cells are few, for each stretch of them."""
        if len(values) > cells:
            values = [values[(place + 1) * len(values) // cells - 1] for place in range(cells)]
        return Text("".join(self._block(value) for value in values), style="cyan")

    def _block(self, value: float) -> str:
        if not math.isfinite(value):
            return " "
        span = self.high - self.low
        part = (value - self.low) / span if span > 0 else 0.5
        return BLOCKS[min(len(BLOCKS) - 1, max(0, int(part * len(BLOCKS))))]
