"""The best value so far, as a curve over the time of training, beside that of the start."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from rich.text import Text

from fer_tune.display import terminal
from fer_tune.display.run_state import RunState

LABEL = 8
"""Cells of the labels at the left."""

NARROWEST = 0.02
"""The smallest range of the scale, so that a small step looks small."""

CURVE, START = "green", "dim"


@dataclass(frozen=True)
class RowScale:
    """The values of the lowest and of the highest of so many rows."""

    low: float
    high: float
    rows: int

    def row(self, value: float) -> int:
        """Returns the row of a value, counted from the top."""
        return round((self.high - value) / (self.high - self.low) * (self.rows - 1))


def rise(state: RunState, width: int, rows: int) -> list[Text]:
    """Returns the curve in so many rows and a line below it. It is empty while nothing is complete.

    The curve has a step wherever a complete trial was better than all before it. The dashed line is
    the best start configuration.
    """
    if not state.rise or rows < 2 or width < 3 * LABEL:
        return []
    times, values = zip(*state.rise, strict=True)
    known = [*values, *([] if state.start is None else [state.start])]
    high = max(known)
    scale = RowScale(min(*known, high - NARROWEST), high, rows)
    end = max(times[-1], state.spent or 0.0)
    cells = width - LABEL
    at = [bisect_right(times, end * (place + 1) / cells) - 1 for place in range(cells)]
    heights = [scale.row(values[index]) if index >= 0 else None for index in at]
    dashed = None if state.start is None else scale.row(state.start)
    lines = [_line(row, heights, dashed) for row in range(rows)]
    labels = {0: scale.high, rows - 1: scale.low}
    if state.start is not None and dashed is not None:
        labels[dashed] = state.start
    texts = [terminal.percent(labels[row]) if row in labels else "" for row in range(rows)]
    drawn = [Text(f"{label:>{LABEL - 1}} ", START) + line for label, line in zip(texts, lines, strict=True)]
    return [*drawn, _axis(state, end, width)]


def _line(row: int, heights: list[int | None], dashed: int | None) -> Text:
    """Returns a row of the curve, with corners where it rises."""
    line, before = Text(), None
    for height in heights:
        if height is None:
            corner = ""
        elif before is None or before == height:
            corner = "─" if height == row else ""
        elif row == height:
            corner = "╭"
        elif row == before:
            corner = "╯"
        else:
            corner = "│" if height < row < before else ""
        line.append(*((corner, CURVE) if corner else ("┄", START) if row == dashed else (" ", "")))
        before = height
    return line


def _axis(state: RunState, end: float, width: int) -> Text:
    """Returns the line below the curve: what it shows, and the time at its ends."""
    dashed = "" if state.start is None else ", ┄ best of start"
    left, last = " " * LABEL + "0", terminal.hours(end)
    for title in (f"─ best complete trial{dashed}, by {state.unit}-hours of training", f"{state.unit}-hours", ""):
        blanks = width - len(left) - len(title) - len(last)
        if blanks >= 2:
            break
    return Text(f"{left}{' ' * (blanks // 2)}{title}{' ' * (blanks - blanks // 2)}{last}", "dim")
