"""How results look in a terminal: consoles, tables, numbers, JSON. Text is never markup."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from fer_tune.errors import FerTuneError
from fer_tune.files import FULL
from fer_tune.job import Value

STYLES = {
    "complete": "green",
    "pruned": "yellow",
    "failed": "red",
    "running": "cyan",
    "paused": "blue",
    "interrupted": "magenta",
    "requeued": "dim",
}
"""Of a trial's states. The word is always shown too."""

NONE = "–"
"""Stands for what is not known."""


def console(stderr: bool = False) -> Console:
    """Returns a console that prints text as it is, without markup and without coloured numbers."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def shown(text: str) -> str:
    """Returns a text from outside. Letters that would change the terminal are escaped."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in "\n\t" else ascii(letter)[1:-1] for letter in text)


class PlainTable(Table):
    """A table that shows its cells as they are: names and reasons come from files and databases."""

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
    """Lines on standard output. Each is written at once, and none can end a run.

    A reader that closes its end (`| head`) gets no further lines. Where the disk of a file is full,
    Python keeps what it could not write, and writes it with a later line.
    """

    def line(self, text: str) -> None:
        """Writes one line."""
        with self.spared():
            print(text, flush=True)

    @contextmanager
    def spared(self) -> Iterator[None]:
        """Lets what is printed inside fail as a line may."""
        try:
            yield
        except BrokenPipeError:
            self._give_up()
        except OSError as error:
            if error.errno not in FULL:
                raise

    def close(self) -> None:
        """Writes what is left, or drops it: otherwise Python would end with an error of its own."""
        try:
            sys.stdout.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def error(problem: FerTuneError) -> None:
    """Prints message and hint on standard error."""
    out = console(stderr=True)
    line(out, ("error: ", "bold red"), problem.message)
    if problem.hint:
        line(out, ("hint: ", "bold"), problem.hint)


def note(text: str) -> None:
    """Prints what the user should know beside the results, on standard error."""
    line(console(stderr=True), (text, "dim"))


def line(out: Console, *parts: str | tuple[str, str]) -> None:
    """Prints one line, which a pipe gets whole."""
    safe = [shown(part) if isinstance(part, str) else (shown(part[0]), part[1]) for part in parts]
    out.print(Text.assemble(*safe), soft_wrap=True)


def next_commands(out: Console, *commands: str, indent: str = "") -> None:
    """Prints what a user may call next: in a line, or each command in its own if they are long."""
    together = f"{indent}next: {'; '.join(commands)}"
    if cell_len(together) <= out.width or len(commands) == 1:
        line(out, together)
        return
    for place, command in enumerate(commands):
        line(out, f"{indent}{'next: ' if place == 0 else '      '}{command}")


def table(title: str = "") -> Table:
    """Returns an empty table that looks as all of ours do."""
    return PlainTable(
        box=SIMPLE_HEAD,
        show_edge=False,
        title=Text(shown(title)) if title else None,
        title_justify="left",
        title_style="bold",
        padding=(0, 1, 0, 0),
    )


@dataclass(frozen=True)
class Column:
    """A column of a listing.

    Attributes:
        right: whether its cells are aligned to the right.
        folds: whether its cells are folded in a narrow terminal. The others keep their width.
        needs: the columns of the terminal from which on it is shown.
    """

    heading: str
    right: bool = False
    folds: bool = False
    needs: int = 0


def listing(
    columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], width: int, dim: Collection[int] = ()
) -> Table:
    """Returns a table for a terminal of that width.

    Args:
        dim: the rows that matter less, by place.
    """
    kept = [place for place, column in enumerate(columns) if width >= column.needs]
    drawn = table()
    for place in kept:
        column = columns[place]
        drawn.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=not column.folds,
            overflow="fold" if column.folds else "ellipsis",
        )
    for place, row in enumerate(rows):
        drawn.add_row(*(row[at] for at in kept), style="dim" if place in dim else "")
    return drawn


def state(name: str) -> Text:
    """Returns a trial's state in its colour."""
    return Text(name, style=STYLES.get(name, ""))


def percent(fraction: float | None) -> str:
    """Returns a fraction as a percentage with two digits."""
    return NONE if fraction is None or math.isnan(fraction) else f"{100 * fraction:.2f} %"


def probability(p: float) -> str:
    """Returns a probability with three digits: 0.042, or <0.001."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def many(count: float, one: str, several: str | None = None) -> str:
    """Returns a number with its noun: `1 trial`, `1,200 trials`, `0.5 hours`."""
    shown = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{shown} {one if count == 1 else several or one + 's'}"


def duration(seconds: float | None) -> str:
    """Returns seconds as 4.2 s (4 s where they are whole numbers), 3:07 or 1:02:09."""
    if seconds is None or math.isnan(seconds):
        return NONE
    if seconds < 60:
        return f"{seconds} s" if isinstance(seconds, int) else f"{seconds:.1f} s"
    return clock(seconds)


def clock(seconds: float | None) -> str:
    """Returns seconds as 0:04, 3:07 or 1:02:09: what ticks keeps its shape."""
    if seconds is None:
        return NONE
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def hours(seconds: float | None) -> str:
    """Returns seconds as 0:00:04, always with the hours."""
    if seconds is None:
        return NONE
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def period(hours: float) -> str:
    """Returns a number of hours in words: `2 hours`, or `10 minutes`."""
    return many(hours, "hour") if hours >= 1 else many(float(f"{60 * hours:.2g}"), "minute")


def family(name: str) -> str:
    """Returns a family's name without the digest of its file: `mynet.py:MyNet`."""
    return name.partition("@")[0]


def rate(images: float | None) -> str:
    """Returns images a second, as 940 or 17.1k."""
    if images is None or not math.isfinite(images):
        return NONE
    return f"{images:.0f}" if images < 1000 else f"{images / 1000:.1f}k"


def value(of: Value | None) -> str:
    """Returns a hyperparameter's value, with at most four significant digits."""
    if of is None:
        return NONE
    if isinstance(of, bool):
        return "true" if of else "false"
    return f"{of:.4g}" if isinstance(of, float) else str(of)


def plain(data: Any) -> Any:
    """Returns data for JSON: times in ISO form, nan and infinity as null, paths as text."""
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
    """Prints JSON on standard output, strictly valid. What would change a terminal is escaped."""
    text = json.dumps(plain(data), indent=2, allow_nan=False, ensure_ascii=False)
    print("".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text))
