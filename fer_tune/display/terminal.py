"""How things look: consoles, tables, numbers, JSON."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from fer_tune.display.columns import Column, choose
from fer_tune.errors import FerTuneError
from fer_tune.files import FULL
from fer_tune.job import Value

STYLES = {"complete": "green", "pruned": "yellow", "failed": "red", "running": "cyan", "requeued": "dim"}
"""Of a trial's states; the word is always shown too."""

NONE = "–"

GAP = 2
"""Blanks between the columns of a table."""


def console() -> Console:
    """Returns the console for results, on standard output. Brackets in a text are no markup."""
    return Console(highlight=False, markup=False, emoji=False)


def shown(text: str) -> str:
    """Returns a text from outside without what moves the cursor or changes the terminal; it is escaped."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1] for letter in text)


class PlainTable(Table):
    """A table whose cells are shown as they are: names and reasons come from files and databases."""

    def add_column(self, header: RenderableType = "", *args: Any, **options: Any) -> None:
        """Adds a column."""
        super().add_column(_plain(header), *args, **options)

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """Adds a row."""
        super().add_row(*(None if cell is None else _plain(cell) for cell in cells), **options)


def _plain(cell: RenderableType) -> RenderableType:
    if isinstance(cell, Text):
        cell = cell.copy()
        cell.plain = shown(cell.plain)
    return Text(shown(cell)) if isinstance(cell, str) else cell


class Output:
    """Lines on standard output, each written at once, of a run, which no line may end.

    A reader that goes away (`| head`) ends nothing but the lines. Where they go to a file whose disk is full, Python
    keeps what it could not write and writes it with a later line.
    """

    def line(self, text: str) -> None:
        """Writes one line."""
        with self.spared():
            print(text, flush=True)

    @contextmanager
    def spared(self) -> Iterator[None]:
        """What is written within ends nothing either."""
        try:
            yield
        except BrokenPipeError:
            self._give_up()
        except OSError as error:
            if error.errno not in FULL:
                raise

    def close(self) -> None:
        """Writes what is left, or lets it go: Python would end the process with an error of its own."""
        try:
            sys.stdout.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def error(problem: FerTuneError) -> None:
    """Message and hint, on standard error."""
    out = Console(stderr=True, highlight=False)
    line(out, ("error: ", "bold red"), problem.message)
    if problem.hint:
        line(out, ("hint: ", "bold"), problem.hint)


def note(text: str) -> None:
    """Something said beside the results, on standard error."""
    line(Console(stderr=True, highlight=False), (text, "dim"))


def line(out: Console, *parts: str | tuple[str, str]) -> None:
    """Prints one line, which a pipe gets whole."""
    safe = [shown(part) if isinstance(part, str) else (shown(part[0]), part[1]) for part in parts]
    out.print(Text.assemble(*safe), soft_wrap=True)


def table(title: str = "") -> Table:
    """A table as all of ours look."""
    return PlainTable(
        box=SIMPLE_HEAD,
        show_edge=False,
        title=Text(shown(title)) if title else None,
        title_justify="left",
        title_style="bold",
        padding=(0, GAP - 1, 0, 0),
    )


def fitting(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str | Text]],
    width: int,
    title: str = "",
    dim: Collection[int] = (),
) -> Table:
    """A table that is no wider than `width`: columns that may be dropped are, the rest folds what it must.

    Args:
        dim: rows that matter less.
    """
    widths = choose(columns, rows, width - 1, GAP)
    drawn = table(title)
    for at, cells in widths.items():
        folds = columns[at].least is not None
        drawn.add_column(
            columns[at].heading,
            justify="right" if columns[at].right else "left",
            width=cells,
            no_wrap=not folds,
            overflow="fold" if folds else "ellipsis",
        )
    for place, row in enumerate(rows):
        drawn.add_row(*(row[at] for at in widths), style="dim" if place in dim else "")
    return drawn


def state(name: str) -> Text:
    """A trial's state."""
    return Text(name, style=STYLES.get(name, ""))


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with two digits."""
    return NONE if fraction is None or math.isnan(fraction) else f"{100 * fraction:.2f} %"


def duration(seconds: float | None) -> str:
    """Seconds as 4.2 s (4 s where they are whole numbers), 3:07 or 1:02:09."""
    if seconds is None or math.isnan(seconds):
        return NONE
    if seconds < 60:
        return f"{seconds} s" if isinstance(seconds, int) else f"{seconds:.1f} s"
    return clock(seconds)


def clock(seconds: float) -> str:
    """Seconds as 0:04, 3:07 or 1:02:09: what ticks keeps its shape."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def hours(seconds: float) -> str:
    """Seconds as 0:00:04, with the hours always told."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def value(of: Value | None) -> str:
    """A hyperparameter's value, with at most four significant digits."""
    if of is None:
        return NONE
    if isinstance(of, bool):
        return "true" if of else "false"
    return f"{of:.4g}" if isinstance(of, float) else str(of)


def plain(data: Any) -> Any:
    """`data` as JSON can say it: moments in ISO form, nan and infinity as null, paths as text."""
    if isinstance(data, dict):
        return {str(key): plain(item) for key, item in data.items()}
    if isinstance(data, list | tuple):
        return [plain(item) for item in data]
    if isinstance(data, datetime):
        return data.isoformat()
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    return data if data is None or isinstance(data, bool | int | str) else str(data)


def print_json(data: Any) -> None:
    """JSON on standard output, strictly valid."""
    print(json.dumps(plain(data), indent=2, allow_nan=False, ensure_ascii=False))
