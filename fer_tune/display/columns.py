"""Columns that fit: which of them there is room for, and how wide each is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

Cell = str | Text | Callable[[int], Text]
"""Text, or what draws itself as wide as it is told."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        right: whether it stands at its right edge.
        drop: 0 always stays; of the others, the highest number is left out first.
        least: cells that it can be squeezed to (text is cut, or folded); None is as wide as its widest cell.
        most: cells that it may grow to where there is room; None is no further than its widest cell.
    """

    heading: str = ""
    right: bool = False
    drop: int = 0
    least: int | None = None
    most: int | None = None


def choose(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int, gap: int) -> dict[int, int]:
    """The columns that fit into `width` cells with `gap` between them: by place, how wide each is.

    What is left over goes to those that can use it, the first of them first. Remarks (text that may be squeezed)
    that no row has get no column.
    """
    widest = [max([cell_len(column.heading), *(_length(row[at]) for row in rows)]) for at, column in enumerate(columns)]
    least = [_least(column, widest[at]) for at, column in enumerate(columns)]
    kept = [at for at, column in enumerate(columns) if not _idle(column, [row[at] for row in rows])]

    def room() -> int:
        return width - sum(least[at] for at in kept) - gap * (len(kept) - 1)

    while room() < 0 and any(columns[at].drop for at in kept):
        kept.remove(max(kept, key=lambda at: columns[at].drop))
    widths = {at: least[at] for at in kept}
    left = max(0, room())
    for at in kept:
        more = min(left, max(0, (columns[at].most or widest[at]) - widths[at]))
        widths[at] += more
        left -= more
    return widths


def _least(column: Column, widest: int) -> int:
    if column.least is None:
        return widest
    drawn = column.most is not None
    return max(column.least, cell_len(column.heading)) if drawn else min(widest, column.least)


def _idle(column: Column, cells: Sequence[Cell]) -> bool:
    return column.least is not None and column.most is None and not any(callable(cell) or len(cell) for cell in cells)


def draw(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int, gap: int = 2, headed: bool = True
) -> list[Text]:
    """The rows as lines, none wider than `width`, below a dim line of headings."""
    widths = choose(columns, rows, width, gap)
    lines = []
    if headed:
        lines.append(_line(columns, [Text(column.heading, "dim") for column in columns], widths, gap))
    return lines + [_line(columns, row, widths, gap) for row in rows]


def _line(columns: Sequence[Column], row: Sequence[Cell], widths: dict[int, int], gap: int) -> Text:
    parts = []
    for at, cells in widths.items():
        cell = row[at]
        text = cell(cells) if callable(cell) else Text(cell) if isinstance(cell, str) else cell.copy()
        text.truncate(cells, overflow="ellipsis")
        text.align("right" if columns[at].right else "left", cells)
        parts.append(text)
    line = Text(" " * gap).join(parts)
    line.rstrip()
    return line


def _length(cell: Cell) -> int:
    return 0 if callable(cell) else cell_len(cell if isinstance(cell, str) else cell.plain)
