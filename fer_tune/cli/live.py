"""A run in place: where the output is a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fer_tune.cli import show
from fer_tune.cli.board import Board, Place
from fer_tune.cli.lines import describe
from fer_tune.orchestrator import Ended

if TYPE_CHECKING:
    from types import TracebackType

    from fer_tune.pool import WorkerInfo
    from fer_tune.study import Counts
    from fer_tune.sweep.schema import Sweep
    from fer_tune.trial import TrialSpec

REFRESH = 4
"""Drawings a second, at most."""

HEADINGS = {"val_accuracy": "val acc", "val_macro_f1": "val F1", "val_balanced_accuracy": "val bal"}
"""Objectives as headings that fit 80 columns."""


class LiveView(Board):
    """Draws the board below what was said so far; use it as a context manager."""

    def __init__(self, out: Console) -> None:
        super().__init__()
        self.out = out
        self._live = Live(console=out, get_renderable=self.draw, refresh_per_second=REFRESH, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        self.out.print(Text(text, style="dim"), soft_wrap=True)

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        super().worker_lost(worker, reason, log_tail)
        self.out.print(Text(f"worker {worker.index} ({worker.device}) was lost: {reason}", style="red"))

    def study_opened(self, sweep: Sweep, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        super().study_opened(sweep, counts, workers)
        self._live.refresh()

    def trial_ended(self, spec: TrialSpec, ended: Ended) -> None:
        super().trial_ended(spec, ended)
        if ended.state == "failed":
            self.out.print(Text(f"{spec.study}: {describe(ended)}", style="red"))

    def draw(self) -> RenderableType:
        """The study's two lines and a row for each worker."""
        if not self.study:
            return Text("opening the studies …", style="dim")
        return Group(self._head(), self._counts(), self._workers())

    def _head(self) -> RenderableType:
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column(no_wrap=True)
        head.add_column(ratio=1)
        head.add_column(justify="right", no_wrap=True)
        bar = ProgressBar(total=max(1, self.budget), completed=min(self.finished, self.budget))
        told = f"{self.finished}/{self.budget} · {show.duration(round(self.elapsed))}"
        head.add_row(Text(self.study, style="bold"), bar, told)
        return head

    def _counts(self) -> Text:
        parts: list[str | tuple[str, str]] = []
        counted = (
            ("done", self.done, "complete"),
            ("running", self.running, "running"),
            ("pruned", self.pruned, "pruned"),
            ("failed", self.failed, "failed"),
        )
        for word, count, state in counted:
            parts += [(f"{count} {word}", show.STYLES[state] if count else "dim"), " · "]
        if self.best is None:
            parts.append("best –")
        else:
            parts += ["best ", (show.percent(self.best), "bold"), f" (trial {self.best_trial})"]
        return Text.assemble(*parts)

    def _workers(self) -> Table:
        table = show.table()
        table.expand = True
        table.add_column("worker", no_wrap=True)
        table.add_column("trial", justify="right", no_wrap=True)
        table.add_column("epochs", ratio=1)
        table.add_column("", justify="right", no_wrap=True)
        table.add_column(HEADINGS.get(self.objective, self.objective), justify="right", no_wrap=True)
        table.add_column("best", justify="right", no_wrap=True)
        for index, place in sorted(self.places.items()):
            table.add_row(f"{index} {place.device}", *_row(place))
        return table


def _row(place: Place) -> tuple[RenderableType, ...]:
    if place.doing != "training":
        return ("", Text(place.doing, style="dim"), "", "", "")
    bar = ProgressBar(total=max(1, place.epochs), completed=place.epoch)
    told = f"{place.epoch}/{place.epochs}"
    return (str(place.trial), bar, told, show.percent(place.value), show.percent(place.best))
