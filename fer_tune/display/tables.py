"""The tables of a view: the lanes with the jobs that they train, and the trials worth a look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.text import Text

from fer_tune.display import terminal
from fer_tune.display.cells import HARD_SPACE, bar, in_epoch, one_line
from fer_tune.display.run_state import RunState
from fer_tune.display.shown import ShownJob, ShownWorker
from fer_tune.display.sparklines import Scale
from fer_tune.job import Value

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

LEFT = {"worker", "bar", "state", "curve", "note", "last trials", "best trials", "trained"}
"""Columns whose text begins at their left edge."""

NARROW, BROAD = 8, 13
"""Cells of a hyperparameter's column, at least and at most."""

GIB = 2**30

Row = Mapping[str, RenderableType]


@dataclass(frozen=True)
class Layout:
    """What is shown in a terminal of at least `width` columns.

    Attributes:
        gap: cells between two columns.
        bar, curve: cells of a progress bar and of a learning curve.
        workers, trials: columns of the tables.
    """

    width: int
    gap: int
    bar: int
    curve: int
    workers: str
    trials: str


LAYOUTS = (
    Layout(
        120, 2, 10, 12,
        "worker|trial|bar|epochs|pauses|in epoch|value|train acc|loss|curve|images/s|GiB|load",
        "trial|state|value|train acc|curve|epochs|time|note",
    ),
    Layout(
        80, 1, 6, 8,
        "worker|trial|bar|epochs|pauses|in epoch|value|curve|img/s|GiB|load",
        "trial|state|value|curve|epochs",
    ),
    Layout(
        0, 1, 6, 8,
        "worker|trial|bar|epochs|in epoch|value|curve",
        "trial|state|value|curve|epochs|time",
    ),
)  # fmt: skip
WIDE = LAYOUTS[0]


@dataclass
class Tables:
    """Draws the jobs of a run state in one layout."""

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
        if not any(job.rung for job in state.running):
            self.columns = [name for name in self.columns if name != "pauses"]
        if state.kind != "search":  # known by its seed
            self.headings["trial"] = "seed"
        if state.kind == "final":  # without a validation part: its value is the training's
            self.columns = [name for name in self.columns if name not in {"train acc", "loss"}]
            self.columns.insert(self.columns.index("value"), "loss")
        self.searched = list(dict.fromkeys(name for job in jobs for name in job.params if name not in state.fixed))

    # the workers --------------------------------------------------------------------------------------------------

    def workers(self, count: int) -> RenderableType:
        """Returns a table of the first `count` lanes. A line says how many more there are."""
        workers = sorted(self.state.workers.items())
        several = any(slot.lane for slot, _ in workers)
        first = {slot.worker: slot for slot, _ in reversed(workers)}
        columns = [name for name in self.columns if self.monitor or name not in {"GiB", "load"}]
        rows = [
            self._worker(slot, worker, several, measured=first[slot.worker] == slot) for slot, worker in workers[:count]
        ]
        table = self._table([*columns, *self._fitting(columns, rows)], rows)
        more = len(workers) - count
        what = "lanes" if several else "workers"
        return Group(table, Text(f"… and {more} more {what}", "dim")) if more > 0 else table

    def _worker(self, slot: Slot, worker: ShownWorker, several: bool, measured: bool) -> Row:
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
        """Returns all searched hyperparameters of the running jobs and of the best one.

        Args:
            most: lines for each of them; None is as many as it needs.
        """
        jobs = [(job.label, job) for job in self.state.running]
        jobs += [(f"best, {job.label}", job) for job in self.state.best[:1]]
        lines: list[Text] = []
        for label, job in jobs:
            name = f" ({job.name})" if job.name else ""
            chosen = [
                f"{key}{HARD_SPACE}{terminal.value(job.params[key])}" for key in self.searched if key in job.params
            ]
            text = f"{label}{name}: {' · '.join(chosen)}"
            wrapped = wrap(text, self.width, max_lines=most, subsequent_indent="  ", placeholder=" …")
            lines += [one_line(Text(line, "dim")) for line in wrapped]
        return lines

    # the trials ---------------------------------------------------------------------------------------------------

    def last(self, count: int) -> RenderableType:
        """Returns the jobs that ended last."""
        title = "last trials" if self.state.kind == "search" else "trained"
        return self._list(title, self.layout.trials.split("|"), list(self.state.last)[:count])

    def best(self, count: int) -> RenderableType:
        """Returns the best trials."""
        ranked = [name for name in self.layout.trials.split("|") if name != "state"]
        return self._list("best trials", ranked, self.state.best[:count])

    def _list(self, title: str, columns: list[str], jobs: Sequence[ShownJob]) -> RenderableType:
        columns = [title if name == "trial" else name for name in columns]
        rows = [self._cells(job) | {title: Text(str(job.number))} for job in jobs]
        if "note" in columns and not any(str(row["note"]) for row in rows):
            columns.remove("note")
        chosen = self._fitting(columns, rows)
        place = columns.index("note") if "note" in columns else len(columns)
        return self._table([*columns[:place], *chosen, *columns[place:]], rows)

    def _cells(self, job: ShownJob) -> dict[str, RenderableType]:
        """Returns every cell that a job has. A table takes those of its columns."""
        last = job.rows[-1] if job.rows else None
        leads = bool(self.state.best) and job is self.state.best[0]
        rate = terminal.rate(last.images_per_second if last else None)
        chosen: dict[str, RenderableType] = {
            name: one_line(Text(short(job.params[name]))) for name in self.searched if name in job.params
        }
        return chosen | {
            "trial": Text(str(job.number)),
            "bar": bar(job.position, job.epochs, self.layout.bar),
            "state": terminal.state(job.state),
            "epochs": Text(f"{job.epoch}/{job.epochs}"),
            "pauses": Text(f"at {job.rung}" if job.rung else ""),
            "in epoch": Text(in_epoch(job)),
            "value": Text(terminal.percent(job.shown_value), "bold green" if leads else ""),
            "train acc": Text(terminal.percent(last.train_accuracy if last else None)),
            "loss": Text(f"{last.train_loss:.3f}" if last else terminal.NONE),
            "curve": self.scale.sparkline(job.curve, self.layout.curve),
            "time": Text(terminal.duration(job.seconds if last else None)),
            "img/s": Text(rate),
            "images/s": Text(rate),
            "note": one_line(Text(job.name or ("" if job.saved else job.reason), "dim")),
        }

    def _fitting(self, columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
        """Returns the hyperparameters that have room beside these columns, in the sweep's order."""
        used = sum(self._wide(name, rows) + self.layout.gap for name in columns)
        chosen = []
        for name in self.searched:
            if used + (wide := _wide_of(name)) <= self.width:
                chosen.append(name)
                used += wide + self.layout.gap
        return chosen

    def _wide(self, name: str, rows: Sequence[Row]) -> int:
        """Returns the cells that a column needs."""
        cells = [row.get(name, "") for row in rows]
        texts = [cell.plain for cell in cells if isinstance(cell, Text)]
        bars = [self.layout.bar for cell in cells if isinstance(cell, ProgressBar)]
        if name == "note":
            texts = [text[:16] for text in texts]
        return max([cell_len(self.headings.get(name, name)), *map(cell_len, texts), *bars])

    def _table(self, columns: Sequence[str], rows: Iterable[Row]) -> RenderableType:
        table = terminal.PlainTable(box=None, padding=(0, self.layout.gap, 0, 0), pad_edge=False)
        table.header_style = "dim"
        for name in columns:
            of_search = name in self.searched
            table.add_column(
                one_line(Text(self.headings.get(name, name))),
                justify="left" if name in LEFT else "right",
                no_wrap=name != "note",
                overflow="ellipsis",
                width=_wide_of(name) if of_search else None,
            )
        for row in rows:
            table.add_row(*(row.get(name, "") for name in columns))
        return table


def short(value: Value) -> str:
    """Returns a hyperparameter's value for a column, with at most three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else terminal.value(value)


def _wide_of(hyperparameter: str) -> int:
    """Returns the cells of a hyperparameter's column: always the same, so that it does not jump."""
    return min(BROAD, max(NARROW, cell_len(hyperparameter)))
