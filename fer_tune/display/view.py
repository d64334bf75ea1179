"""A board as it is drawn, as wide as there is room: the same for a run and for `watch`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from fer_tune.display import terminal
from fer_tune.display.columns import Cell, Column, draw
from fer_tune.display.run_state import Finished, Place, RunState
from fer_tune.display.sparklines import Scale, bar, rate, spread, stacked
from fer_tune.job import by_pruner

if TYPE_CHECKING:
    from fer_tune.pool.monitor import Monitor

HEADINGS = {"val_accuracy": "val acc", "val_macro_f1": "val F1", "val_balanced_accuracy": "val bal"}
"""Objectives as headings."""

ROOMY = 100
"""Columns from which on there are two blanks between columns."""
BESIDE = 72
"""Columns from which on the last trials stand beside the best."""
WIDEST = 160
"""Columns beyond which lines are hard to follow."""

REMARK = 14
"""Columns below which a remark is no longer worth its room."""

GIB = 2**30

Row = Callable[[int, Finished, Scale], list[Cell]]


@dataclass
class View:
    """Draws a board.

    Attributes:
        gauges: the workers' memory and load, or None where they cannot be had: then their columns are left out.
        height: lines at most, or None for as many as it takes. The lists of trials give way to the workers.
    """

    board: RunState
    gauges: Monitor | None = None
    height: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        board, width = self.board, min(options.max_width, WIDEST)
        if not board.study:
            yield Text("opening the studies …", style="dim")
            return
        head = list(self._head(width))
        workers, trials = self._room(len(head), beside=width >= BESIDE)
        yield from head
        if board.places:
            yield Text()
            yield from self._workers(width, workers)
        if trials and board.last:
            yield Text()
            yield from self._trials(width, trials)

    def _room(self, head: int, beside: bool) -> tuple[int, int]:
        """How many workers, and how many trials of each list, there is room for below the head."""
        places, trials = len(self.board.places), len(self.board.last)
        if self.height is None:
            return places, trials
        left = self.height - head - 2  # a blank line, and headings
        workers = places if places <= left else max(1, left - 1)  # a line for those that are left out
        left -= workers + 2
        return workers, max(0, min(trials, left if beside else (left - 2) // 2))

    # the study ----------------------------------------------------------------------------------------------------

    def _head(self, width: int) -> Iterable[Text]:
        board = self.board
        what = Text.assemble((board.study, "bold"), (f"  {board.family} on {board.data}", "dim"))
        left = "" if board.left is None else f" · about {terminal.clock(board.left)} left"
        yield from spread(width, what, Text(f"{terminal.clock(board.elapsed)} elapsed{left}"))
        told = f" {board.finished}/{board.budget}"
        parts = [(count, terminal.STYLES[state]) for count, word, state in self._counted() if word != "running"]
        yield stacked(parts, board.budget, width - len(told)).append(told, "bold")
        yield from spread(width, self._counts(), self._best(), self._costs())
        if board.remark:
            yield Text(board.remark, "dim")

    def _counted(self) -> list[tuple[int, str, str]]:
        board = self.board
        return [
            (board.done, "done", "complete"),
            (board.running, "running", "running"),
            (board.pruned, "pruned", "pruned"),
            (board.failed, "failed", "failed"),
        ]

    def _counts(self) -> Text:
        counted = self._counted()
        parts = [Text(f"{count} {word}", terminal.STYLES[state] if count else "dim") for count, word, state in counted]
        return Text.assemble((" · ", "dim")).join(parts)

    def _best(self) -> Text:
        best = self.board.best
        if best is None:
            return Text("best –", "dim")
        return Text.assemble("best ", (terminal.percent(best.value), "bold green"), f" in trial {best.number}")

    def _costs(self) -> Text:
        unit = "GPU" if any(place.device != "cpu" for place in list(self.board.places.values())) else "CPU"
        spent, saved = terminal.hours(self.board.spent), terminal.hours(self.board.saved)
        return Text.assemble((f"{unit}-hours ", "dim"), f"{spent} spent · {saved} saved by pruning")

    # the workers --------------------------------------------------------------------------------------------------

    def _workers(self, width: int, count: int) -> Iterable[Text]:
        board = self.board
        places = sorted(board.places.items())
        roomy, scale = width >= ROOMY, self._scale()
        gpu = any(place.device != "cpu" for _, place in places)
        columns = [
            Column("worker"),
            Column("trial", right=True),
            Column("family", drop=4),
            Column("epochs", least=6, most=width // (4 if roomy else 8)),
            Column(right=True),
            Column(HEADINGS.get(board.objective, board.objective), right=True),
            Column("curve" if roomy else "", drop=3, least=6, most=min(24, max(6, board.epochs))),
            Column("images/s" if roomy else "img/s", right=True, drop=5),
            Column("start" if roomy else "", drop=8, least=REMARK),
        ]
        if self.gauges is not None:
            columns[-1:-1] = [
                Column("GiB", right=True, drop=7),
                Column("GPU" if gpu else "CPU", right=True, drop=6),
            ]
        rows = [self._worker(index, place, scale, len(columns), roomy) for index, place in places[:count]]
        yield from draw(columns, rows, width, gap=2 if roomy else 1)
        if len(places) > count:
            yield Text(f"… and {len(places) - count} more workers", "dim")

    def _worker(self, index: int, place: Place, scale: Scale, width: int, roomy: bool) -> list[Cell]:
        cells: list[Cell] = [f"{index} {place.device}"]
        if place.doing == "training":
            cells += [
                str(place.trial),
                self.board.family,
                lambda cells: bar(place.epoch, place.epochs, cells),
                f"{place.epoch}/{place.epochs}",
                terminal.percent(place.value),
                lambda cells: scale.spark([point.value for point in place.curve], cells),
                rate(place.rate),
            ]
        else:
            cells += ["", "", Text(place.doing, "dim"), "", "", "", ""]
        if self.gauges is not None:
            gauge = self.gauges.get(index)
            used = terminal.NONE if gauge.used is None else f"{gauge.used / GIB:.1f}"
            cells.append(f"{used}/{gauge.total / GIB:.0f}" if gauge.total and roomy else used)
            cells.append(terminal.NONE if gauge.load is None else f"{100 * gauge.load:.0f} %")
        cells.append(Text(place.name if place.name and roomy and place.doing == "training" else "", "dim"))
        return cells

    # the trials ---------------------------------------------------------------------------------------------------

    def _trials(self, width: int, count: int) -> Iterable[Text]:
        beside = width >= BESIDE
        gap = 2 if width < ROOMY else 6
        half = (width - gap) // 2 if beside else width
        last = self._list("last trials", self._ended, list(self.board.last)[:count], half)
        best = self._list("best trials", self._ranked, self.board.top[:count], half)
        if not beside:
            yield from [*last, Text(), *best]
            return
        for left, right in zip(last, best + [Text()] * (len(last) - len(best)), strict=True):
            left.truncate(half, overflow="ellipsis", pad=True)
            line = left + Text(" " * gap) + right
            line.rstrip()
            yield line

    def _list(self, heading: str, row: Row, trials: Sequence[Finished], width: int) -> list[Text]:
        columns = [
            Column(right=True),
            Column(),
            Column(right=True),
            Column(drop=2, least=6, most=min(20 if width > ROOMY // 2 else 8, max(6, self.board.epochs))),
            Column(right=True, drop=1),
            Column(right=True, drop=3),
            Column(drop=4, least=REMARK),
        ]
        rows = [row(place, trial, self._scale()) for place, trial in enumerate(trials, 1)]
        head = Text(heading, "dim")
        return [head, *draw(columns, rows, width, gap=1 if width < ROOMY // 2 else 2, headed=False)]

    def _ended(self, place: int, trial: Finished, scale: Scale) -> list[Cell]:
        remark = trial.name or ("" if by_pruner(trial.state, trial.reason) else trial.reason)
        cells: list[Cell] = [str(trial.number), terminal.state(trial.state), terminal.percent(trial.value)]
        return cells + _rest(trial, scale, remark)

    def _ranked(self, place: int, trial: Finished, scale: Scale) -> list[Cell]:
        value = Text(terminal.percent(trial.value), "bold green" if place == 1 else "")
        return [f"{place}.", value, f"trial {trial.number}", *_rest(trial, scale, trial.name or "")]

    def _scale(self) -> Scale:
        """One for all curves that are shown, so that they can be compared."""
        board = self.board
        curves = [place.curve for place in board.training] + [trial.curve for trial in [*board.last, *board.top]]
        return Scale.of([point.value for curve in curves for point in list(curve)])


def _rest(trial: Finished, scale: Scale, remark: str) -> list[Cell]:
    return [
        lambda cells: scale.spark([point.value for point in trial.curve], cells),
        f"{trial.epoch}/{trial.epochs}",
        terminal.duration(trial.seconds),
        Text(remark, "dim"),
    ]
