"""Draws a run state in one of three fixed layouts. A run and `watch` draw the same."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fer_tune.display import terminal
from fer_tune.display.run_state import RunState, ShownJob, ShownWorker
from fer_tune.display.sparklines import Scale
from fer_tune.job import NOUNS

if TYPE_CHECKING:
    from fer_tune.pool.monitor import Monitor
    from fer_tune.pool.port import Slot

OBJECTIVES = {
    "val_accuracy": "val acc",
    "val_macro_f1": "val F1",
    "val_balanced_accuracy": "val bal",
    "train_accuracy": "train acc",
}
"""Objectives as headings."""
LEFT = {"worker", "bar", "state", "curve", "note", "hyperparameters"}
"""Columns whose text begins at their left edge."""
LISTED = 5
"""Trials in each list, where the height of the terminal does not matter."""
FEW = 3
"""Trials in each list before there is room for hyperparameters."""
QUIET = 2.0
"""An epoch is timed from so many seconds on. A shorter one needs no progress of its own."""
WIDEST = 160
"""Columns beyond which lines are hard to follow."""
GIB = 2**30
HARD_SPACE = "\u00a0"
"""Keeps a hyperparameter and its value on one line."""


@dataclass(frozen=True)
class Layout:
    """What is shown in a terminal of at least `width` columns.

    Attributes:
        bar, curve: cells of a progress bar and of a learning curve.
        beside: whether the last trials are beside the best ones, or else above them.
        workers, trials: columns of the tables.
    """

    width: int
    gap: int
    bar: int
    curve: int
    beside: bool
    workers: str
    trials: str


LAYOUTS = (
    Layout(
        120, 2, 10, 16, False,
        "worker|trial|bar|epochs|in epoch|value|train acc|loss|curve|images/s|GiB|load",
        "trial|state|value|train acc|loss|curve|epochs|time|note|hyperparameters",
    ),
    Layout(
        80, 1, 8, 8, True,
        "worker|trial|bar|epochs|in epoch|value|curve|img/s|GiB|load",
        "trial|state|value|curve|epochs",
    ),
    Layout(
        0, 1, 6, 8, False,
        "worker|trial|bar|epochs|in epoch|value|curve",
        "trial|state|value|curve|epochs|time",
    ),
)  # fmt: skip
WIDE = LAYOUTS[0]


def draw(state: RunState, width: int, height: int | None = None, monitor: Monitor | None = None) -> RenderableType:
    """Returns what there is to see of a run now.

    Args:
        height: lines at most, or None for as many as needed. Lists of trials give way to workers.
        monitor: says the memory and the load of workers. Without it their columns are left out.
    """
    if not state.study:
        return Text("opening the studies …", "dim")
    layout = next(layout for layout in LAYOUTS if width >= layout.width)
    drawing = Drawing(state, layout, min(width, WIDEST), monitor)
    head, settings = drawing.head(), drawing.settings()
    workers, trials = len(state.workers), min(LISTED, len(state.last))
    if height is not None:
        left = height - len(head) - 2  # an empty line and the headings of the workers
        workers = workers if workers <= left else max(1, left - 1)
        left -= workers + (workers < len(state.workers))
        lists = 1 if layout.beside else 2
        room = max(0, left - lists * (2 + min(FEW, len(state.last))))
        if len(settings) > room:
            settings = drawing.settings(most=1)[:room]
        trials = min(len(state.last), (left - len(settings)) // lists - 2)
    parts = [*head]
    if workers:
        parts += ["", drawing.workers(workers), *settings]
    if trials > 0:
        parts += drawing.trials(trials)
    return Group(*parts)


@dataclass
class Drawing:
    """Draws the parts of a run state in one layout."""

    state: RunState
    layout: Layout
    width: int
    monitor: Monitor | None

    def __post_init__(self) -> None:
        state = self.state
        jobs = [*state.running, *state.last, *state.best]
        self.scale = Scale.of([value for job in jobs for value in job.curve])
        self.headings = {"bar": "", "value": OBJECTIVES.get(state.objective, state.objective), "load": state.unit}
        self.columns = self.layout.workers.split("|")
        if state.kind != "search":  # known by its seed
            self.headings["trial"] = "seed"
        if state.kind == "final":  # without a validation part: its value is the training's
            self.columns = [name for name in self.columns if name not in {"train acc", "loss"}]
            self.columns.insert(self.columns.index("value"), "loss")

    # the study ----------------------------------------------------------------------------------------------------

    def head(self) -> list[RenderableType]:
        """Returns the study, its progress, its counts and its costs, line by line."""
        state = self.state
        what = Text.assemble((state.study, "bold"), (f"  {state.family} on {state.data}", "dim"))
        left = "" if state.over is not None else f" · about {terminal.clock(state.left)} left"
        when = Text(f"{terminal.clock(state.elapsed)} elapsed{left}")
        done = Text(f" {state.finished}/{state.budget}", "bold")
        progress = Table.grid()
        progress.add_row(bar(state.finished, state.budget, max(1, self.width - len(done))), done)
        saved = f" · {terminal.hours(state.costs.saved)} saved by pruning" if state.kind == "search" else ""
        rates = "".join(f" · {device} {terminal.rate(rate)} images/s" for device, rate in sorted(state.rates.items()))
        costs = Text.assemble((f"{state.unit}-hours ", "dim"), f"{terminal.hours(state.spent)} spent{saved}{rates}")
        best = self._best() if state.kind == "search" else Text(f"{NOUNS[state.kind]}s", "dim")
        lines = [*self._sides(what, when), progress, *self._sides(self._counts(), best), one_line(costs)]
        return lines + ([one_line(Text(state.remark, "dim"))] if state.remark else [])

    def _sides(self, left: Text, right: Text) -> list[RenderableType]:
        """Returns a line with a text at each edge, or two lines where they do not fit into one."""
        left, right = one_line(left), one_line(right)
        blanks = self.width - left.cell_len - right.cell_len
        return [left + Text(" " * blanks) + right] if blanks > 0 else [left, right]

    def _counts(self) -> Text:
        counts = {**self.state.counts, "running": len(self.state.running)}
        states = ["complete", "running", "pruned", "failed"]
        states += [state for state in ("paused", "interrupted") if counts.get(state)]
        parts = [
            Text(f"{counts.get(state, 0)} {state}", terminal.STYLES[state] if counts.get(state) else "dim")
            for state in states
        ]
        return Text.assemble((" · ", "dim")).join(parts)

    def _best(self) -> Text:
        if not self.state.best:
            return Text(f"best {terminal.NONE}", "dim")
        best = self.state.best[0]
        return Text.assemble("best ", (terminal.percent(best.value), "bold green"), f" in {best.label}")

    # the workers --------------------------------------------------------------------------------------------------

    def workers(self, count: int) -> RenderableType:
        """Returns a table of the first `count` lanes. A line says how many more there are."""
        workers = sorted(self.state.workers.items())
        several = any(slot.lane for slot, _ in workers)
        first = {slot.worker: slot for slot, _ in reversed(workers)}
        columns = [name for name in self.columns if self.monitor or name not in {"GiB", "load"}]
        table = self._table(
            columns,
            [
                self._worker(slot, worker, several, measured=first[slot.worker] == slot)
                for slot, worker in workers[:count]
            ],
        )
        more = len(workers) - count
        what = "lanes" if several else "workers"
        return Group(table, Text(f"… and {more} more {what}", "dim")) if more > 0 else table

    def _worker(self, slot: Slot, worker: ShownWorker, several: bool, measured: bool) -> Mapping[str, RenderableType]:
        """Returns the cells of a lane.

        Args:
            several: whether the number of the lane is shown.
            measured: whether the memory and the load of the worker are.
        """
        cells = self._cells(worker.job) if worker.job else {"bar": Text(worker.doing, "dim")}
        cells["worker"] = Text(
            f"{slot.worker}.{slot.lane} {worker.device}" if several else f"{slot.worker} {worker.device}"
        )
        if self.monitor and measured:
            gauge = self.monitor.get(slot.worker)
            total = f"/{gauge.total / GIB:.0f}" if gauge.total and self.layout is WIDE else ""
            cells["GiB"] = Text(terminal.NONE if gauge.used is None else f"{gauge.used / GIB:.1f}{total}")
            cells["load"] = Text(terminal.NONE if gauge.load is None else f"{100 * gauge.load:.0f} %")
        return cells

    def settings(self, most: int | None = None) -> list[Text]:
        """Returns the hyperparameters of the running jobs and of the best one.

        Args:
            most: lines for each of them; None is as many as it needs.
        """
        jobs = [(job.label, job) for job in self.state.running]
        jobs += [(f"best, {job.label}", job) for job in self.state.best[:1]]
        lines: list[Text] = []
        for label, job in jobs:
            name = f" ({job.name})" if job.name else ""
            text = f"{label}{name}: {self._settings(job)}"
            wrapped = wrap(text, self.width, max_lines=most, subsequent_indent="  ", placeholder=" …")
            lines += [one_line(Text(line, "dim")) for line in wrapped]
        return lines

    # the trials ---------------------------------------------------------------------------------------------------

    def trials(self, count: int) -> list[RenderableType]:
        """Returns the last trials and the best ones, `count` of each."""
        columns = self.layout.trials.split("|")
        ranked = [name for name in columns if name != "state"]
        title = "last trials" if self.state.kind == "search" else "trained"
        lists = [self._list(title, columns, list(self.state.last)[:count])]
        if best := self.state.best[:count]:
            lists.append(self._list("best trials", ranked, best))
        if not self.layout.beside:
            return [part for one in lists for part in ("", one)]
        grid = Table.grid(padding=(0, 3))
        grid.add_row(*lists)
        return ["", grid]

    def _list(self, title: str, columns: Sequence[str], jobs: Sequence[ShownJob]) -> RenderableType:
        return Group(Text(title, "dim"), self._table(columns, map(self._cells, jobs), headed=False))

    def _cells(self, job: ShownJob) -> dict[str, RenderableType]:
        """Returns every cell that a job has. A table takes those of its columns."""
        last = job.rows[-1] if job.rows else None
        leads = bool(self.state.best) and job is self.state.best[0]
        rate = terminal.rate(last.images_per_second if last else None)
        return {
            "trial": Text(str(job.number)),
            "bar": bar(job.position, job.epochs, self.layout.bar),
            "state": terminal.state(job.state),
            "epochs": Text(f"{job.epoch}/{job.epochs}"),
            "in epoch": Text(in_epoch(job)),
            "value": Text(terminal.percent(job.shown_value), "bold green" if leads else ""),
            "train acc": Text(terminal.percent(last.train_accuracy if last else None)),
            "loss": Text(f"{last.train_loss:.3f}" if last else terminal.NONE),
            "curve": self.scale.sparkline(job.curve, self.layout.curve),
            "time": Text(terminal.duration(job.seconds if last else None)),
            "img/s": Text(rate),
            "images/s": Text(rate),
            "note": one_line(Text(job.name or ("" if job.saved else job.reason), "dim")),
            "hyperparameters": one_line(self._settings(job)),
        }

    def _settings(self, job: ShownJob) -> Text:
        """Returns the hyperparameters that are searched, as `lr 0.001 · width 16`."""
        searched = {name: value for name, value in job.params.items() if name not in self.state.fixed}
        return Text(" · ".join(f"{name}{HARD_SPACE}{terminal.value(value)}" for name, value in searched.items()))

    def _table(
        self, columns: Sequence[str], rows: Iterable[Mapping[str, RenderableType]], headed: bool = True
    ) -> Table:
        table = terminal.PlainTable(box=None, padding=(0, self.layout.gap, 0, 0), pad_edge=False, show_header=headed)
        table.header_style = "dim"
        for name in columns:
            gives_way = name in {"note", "hyperparameters"}
            table.add_column(
                self.headings.get(name, name),
                justify="left" if name in LEFT else "right",
                no_wrap=not gives_way,
                overflow="ellipsis",
            )
        for row in rows:
            table.add_row(*(row.get(name, "") for name in columns))
        return table


def bar(done: float, total: int, cells: int) -> ProgressBar:
    """Returns a bar that says how much is done."""
    return ProgressBar(max(1, total), done, cells, complete_style="cyan", finished_style="green")


def one_line(text: Text) -> Text:
    """Returns the text as one line, cut where it does not fit. What moves the cursor is escaped."""
    text.plain, text.no_wrap, text.overflow = terminal.shown(text.plain.replace(HARD_SPACE, " ")), True, "ellipsis"
    return text


def in_epoch(job: ShownJob) -> str:
    """Returns how far a job is within its epoch: its steps, or the time since the epoch began."""
    if job.progress:
        return f"{job.progress.step}/{job.progress.steps}"
    if job.since is None or (waited := time.monotonic() - job.since) < QUIET:
        return ""
    return terminal.clock(waited)
