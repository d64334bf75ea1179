"""Tables of thousands of rows. rich needs half a millisecond for each row, and this a hundredth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells

GAP = 2
"""Spaces between two columns."""


@dataclass(frozen=True)
class Cells:
    """A column: its heading, and a text for each row."""

    heading: str
    texts: Sequence[str]
    right: bool = True

    @property
    def width(self) -> int:
        """How many cells of a terminal it needs."""
        return max(map(cell_len, (self.heading, *self.texts)))


def lines_of_table(columns: Sequence[Cells], width: int, styles: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Yields the lines of a table, each with a style.

    The last column is folded if it is aligned to the left and does not fit.

    Args:
        styles: of the rows.
    """
    widths = [column.width for column in columns]
    *_, last = columns
    if not last.right:
        room = width - sum(widths[:-1]) - GAP * (len(columns) - 1)
        widths[-1] = max(cell_len(last.heading), min(widths[-1], room))
    yield _line([column.heading for column in columns], columns, widths), "bold"
    yield "─" * min(width, sum(widths) + GAP * (len(columns) - 1)), "dim"
    for place, row in enumerate(zip(*(column.texts for column in columns), strict=True)):
        style = styles[place] if styles else ""
        if cell_len(row[-1]) <= widths[-1]:
            yield _line(row, columns, widths), style
            continue
        for number, part in enumerate(folded(row[-1], widths[-1])):
            cells = [*(row[:-1] if number == 0 else [""] * (len(row) - 1)), part]
            yield _line(cells, columns, widths), style


def folded(text: str, width: int) -> Iterator[str]:
    """Yields parts of a text of at most `width` cells, broken between words if possible."""
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        if line:
            yield line
        *whole, line = chop_cells(word, width) or [""]
        yield from whole
    yield line


def _line(texts: Sequence[str], columns: Sequence[Cells], widths: Sequence[int]) -> str:
    cells = []
    for text, column, width in zip(texts, columns, widths, strict=True):
        space = " " * (width - cell_len(text))
        cells.append(space + text if column.right else text + space)
    return (" " * GAP).join(cells).rstrip()
