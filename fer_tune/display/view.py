"""Draws a run state at the size of the terminal. A run and `watch` draw the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from fer_tune.display.head import head
from fer_tune.display.rise import rise
from fer_tune.display.run_state import RunState
from fer_tune.display.tables import LAYOUTS, Tables

if TYPE_CHECKING:
    from fer_tune.pool.monitor import Monitor

LISTED = 5
"""Trials in each list, where the height of the terminal does not matter."""
FEW = 3
"""Trials in each list before there is room for anything else."""
LOW, HIGH = 6, 10
"""Lines of the curve of the best value, with its axis and an empty line."""
WIDEST = 160
"""Columns beyond which lines are hard to follow."""


def draw(state: RunState, width: int, height: int | None = None, monitor: Monitor | None = None) -> RenderableType:
    """Returns what there is to see of a run now.

    Args:
        height: lines at most, or None for as many as needed. Lists of trials give way to workers.
        monitor: says the memory and the load of workers. Without it their columns are left out.
    """
    if not state.study:
        return Text("opening the studies …", "dim")
    width = min(width, WIDEST)
    tables, top = _tables(state, width, monitor), head(state, width)
    if height is None:
        return _whole(state, width, tables, top)
    left = height - len(top) - 2  # an empty line and the headings of the workers
    workers = len(state.workers) if len(state.workers) <= left else max(1, left - 1)
    left -= workers + (workers < len(state.workers))
    fewest = sum(2 + min(FEW, len(jobs)) for jobs in (state.last, state.best) if jobs)
    spare = max(0, left - fewest)
    curve = _curve(state, width, min(HIGH if len(state.rise) > 1 else LOW, spare // 2))
    settings = tables.settings()
    if len(settings) > (spare - len(curve)) // 2:
        settings = tables.settings(most=1)[: spare - len(curve)]
    left -= len(curve) + len(settings)
    parts = [*top, *curve]
    if workers:
        parts += ["", tables.workers(workers), *settings]
    return Group(*parts, *_lists(tables, *_shares(left, len(state.last), len(state.best))))


def _shares(room: int, last: int, best: int) -> tuple[int, int]:
    """Returns how many of the last and of the best trials fit. Each list has two lines more."""
    if not best:
        return min(last, room - 2), 0
    half = max(0, room // 2 - 2)
    listed = min(best, max(half, room - 4 - last))
    return min(last, room - 2 - (2 + listed if listed else 0)), listed


def left_behind(state: RunState, width: int) -> RenderableType:
    """Returns what stays in the terminal when a study is over: its curve and its best trials."""
    width = min(width, WIDEST)
    best = min(LISTED, len(state.best))
    last = 0 if best else min(LISTED, len(state.last))
    lists = _lists(_tables(state, width, None), last, best)
    return Group(*head(state, width), *_curve(state, width, LOW), *lists)


def _tables(state: RunState, width: int, monitor: Monitor | None) -> Tables:
    return Tables(state, next(layout for layout in LAYOUTS if width >= layout.width), width, monitor)


def _whole(state: RunState, width: int, tables: Tables, top: list[RenderableType]) -> RenderableType:
    """Returns all parts, without a limit on their height."""
    parts = [*top, *_curve(state, width, LOW)]
    if state.workers:
        parts += ["", tables.workers(len(state.workers)), *tables.settings()]
    return Group(*parts, *_lists(tables, min(LISTED, len(state.last)), min(LISTED, len(state.best))))


def _curve(state: RunState, width: int, lines: int) -> list[RenderableType]:
    """Returns the curve of the best value and an empty line above it, in so many lines."""
    drawn = rise(state, width, lines - 2) if lines >= LOW else []
    return ["", *drawn] if drawn else []


def _lists(tables: Tables, last: int, best: int) -> list[RenderableType]:
    """Returns the last and the best trials, so many of each."""
    lists: list[RenderableType] = []
    if last > 0:
        lists += ["", tables.last(last)]
    if best > 0:
        lists += ["", tables.best(best)]
    return lists
