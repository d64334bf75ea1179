"""Shows a run in place, where the output is a terminal, and leaves its result there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, RenderableType
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from fer_tune.display import terminal
from fer_tune.display.cells import one_line
from fer_tune.display.lines import describe
from fer_tune.display.run_state import RunState
from fer_tune.display.view import draw, left_behind
from fer_tune.job import Job
from fer_tune.jobs import Ended, Observer, Plan, StudyOutcome
from fer_tune.pool import WorkerInfo
from fer_tune.pool.monitor import Monitor

if TYPE_CHECKING:
    from fer_tune.study import Counts

REFRESH = 4
"""Drawings a second, at most."""

Recall = Callable[[RunState], None]
"""Adds what the database knows to the state of a study that was opened."""


class LiveView(Observer):
    """Draws a run state below the lines that were printed so far.

    A thread draws. Whoever guards the observers does not hear an error there, so it is logged
    here, and a line takes the place of the drawing.

    Args:
        state: what is drawn. It is an observer too, and hears of each event before the view does.
        recall: adds the trials of earlier runs to the state.
    """

    def __init__(self, out: Console, state: RunState, recall: Recall = lambda state: None) -> None:
        self.out, self.state, self._recall = out, state, recall
        self.monitor = Monitor()
        self._failed = False
        self._closing = ""
        """The study that is over, while nothing else happens."""
        self._drawn = Drawn(out)
        self._live = Live(console=out, get_renderable=self.draw, refresh_per_second=REFRESH, transient=True)

    def __enter__(self) -> Self:
        self.monitor.__enter__()
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        self.monitor.__exit__()

    def draw(self) -> RenderableType:
        """Returns the view as it is now."""
        if self._closing:
            return self._drawn.over(one_line(Text(f"{self._closing}: the last results are being written …", "dim")))
        try:
            return self._drawn.over(draw(self.state, self.out.width, self.out.height - 1, self.monitor))
        except Exception:
            if not self._failed:
                self._failed = True
                logging.getLogger(__name__).exception("The live view could not be drawn.")
            return Text("The live view could not be drawn. The run continues.", "red")

    def note(self, text: str) -> None:
        self._say(text, "dim")

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        self._closing = ""
        self._recall(self.state)
        for worker in workers:
            self.monitor.follow(worker)

    def worker_ready(self, worker: WorkerInfo) -> None:
        self.monitor.follow(worker)

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self._say(f"worker {worker.index} ({worker.device}) was lost: {reason}", "red")

    def study_closed(self, outcome: StudyOutcome) -> None:
        self._closing = outcome.study
        self.out.print(left_behind(self.state, self.out.width))

    def job_ended(self, job: Job, ended: Ended) -> None:
        if ended.state == "failed":
            self._say(f"{job.study}: {describe(job, ended)}", "red")

    def _say(self, text: str, style: str) -> None:
        self.out.print(Text(terminal.shown(text), style))


class Drawn:
    """Remembers what was drawn last, to remove it where the terminal became narrower.

    A terminal folds the lines that no longer fit. So what was drawn has more lines than rich goes
    up to draw over it, and the uppermost ones would stay.
    """

    def __init__(self, out: Console) -> None:
        self.out = out
        self._width = out.width
        self._lines: list[int] = []
        """The cells of each line."""

    def over(self, drawing: RenderableType) -> RenderableType:
        """Returns the drawing, which comes next. Rich then removes the lines that it knows of."""
        width = self.out.width
        if width < self._width and self.out.is_terminal:
            folds = sum(max(0, -(-cells // width) - 1) for cells in self._lines)
            up = [(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)]
            self.out.control(Control(ControlType.CARRIAGE_RETURN, *(up * folds)))
        self._width = width
        lines = self.out.render_lines(drawing, pad=False)
        self._lines = [sum(segment.cell_length for segment in line) for line in lines]
        return drawing
