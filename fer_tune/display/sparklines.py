"""What is drawn with characters: bars, sparklines, and parts spread over a line. Without colour they say the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from fer_tune.display import terminal

BLOCKS = "▁▂▃▄▅▆▇█"
DONE, HALF, TODO = "━", "╸", "─"
APART = 3
"""Blanks between parts of a line, at least."""


@dataclass(frozen=True)
class Scale:
    """What the lowest and the highest block of a sparkline stand for."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Scale:
        """From the lowest to the highest of some values; those that are not finite do not count."""
        finite = [value for value in values if math.isfinite(value)]
        return cls(min(finite, default=0.0), max(finite, default=1.0))

    def spark(self, values: Sequence[float], cells: int) -> Text:
        """A block for each value; where there are more than fit, one for each stretch of them, at its last value."""
        if len(values) > cells:
            values = [values[(place + 1) * len(values) // cells - 1] for place in range(cells)]
        return Text("".join(self._block(value) for value in values), style="cyan")

    def _block(self, value: float) -> str:
        if not math.isfinite(value):
            return " "
        span = self.high - self.low
        part = (value - self.low) / span if span > 0 else 0.5
        return BLOCKS[min(len(BLOCKS) - 1, max(0, int(part * len(BLOCKS))))]


def bar(done: int, total: int, cells: int) -> Text:
    """How much of something is done, to half a cell."""
    halves = round(2 * cells * min(1.0, done / total)) if total else 0
    full = DONE * (halves // 2) + HALF * (halves % 2)
    return Text.assemble((full, "cyan"), (TODO * (cells - len(full)), "dim"))


def stacked(parts: Sequence[tuple[int, str]], total: int, cells: int) -> Text:
    """Parts of a whole side by side, each a count and a style; every part that is not empty can be seen."""
    text, used, counted = Text(), 0, 0
    whole = max(total, sum(count for count, _ in parts), 1)
    for count, style in parts:
        counted += count
        upto = min(cells, max(round(cells * counted / whole), used + (count > 0)))
        text.append(DONE * (upto - used), style)
        used = upto
    return text.append(TODO * (cells - used), "dim")


def spread(width: int, *parts: Text) -> list[Text]:
    """Parts on as few lines as fit, each line's first at the left edge and its last at the right."""
    lines: list[list[Text]] = []
    for part in parts:
        if lines and sum(_cells(one) + APART for one in lines[-1]) + _cells(part) <= width:
            lines[-1].append(part)
        else:
            lines.append([part])
    return [_justified(line, width) for line in lines]


def _justified(parts: Sequence[Text], width: int) -> Text:
    if len(parts) == 1:
        only = parts[0].copy()
        only.truncate(width, overflow="ellipsis")
        return only
    blanks = width - sum(map(_cells, parts))
    line = Text()
    for place, part in enumerate(parts):
        if place:
            gap = blanks // (len(parts) - place)  # of what is left, for the gaps that are left
            line.append(" " * gap)
            blanks -= gap
        line.append_text(part)
    return line


def _cells(text: Text) -> int:
    return cell_len(text.plain)


def rate(of: float | None) -> str:
    """Images a second, as 940 or 17.1k."""
    if of is None or not math.isfinite(of):
        return terminal.NONE
    return f"{of:.0f}" if of < 1000 else f"{of / 1000:.1f}k"
