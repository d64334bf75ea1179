"""Shows a run in place: where the output is a terminal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from fer_tune.display import terminal
from fer_tune.display.lines import describe
from fer_tune.display.run_state import RunState
from fer_tune.display.view import draw
from fer_tune.job import Job
from fer_tune.jobs import Ended, Observer, Plan
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
        try:
            return draw(self.state, self.out.width, self.out.height, self.monitor)
        except Exception:
            if not self._failed:
                self._failed = True
                logging.getLogger(__name__).exception("The live view could not be drawn.")
            return Text("The live view could not be drawn. The run continues.", "red")

    def note(self, text: str) -> None:
        self._say(text, "dim")

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        self._recall(self.state)
        for worker in workers:
            self.monitor.follow(worker)

    def worker_ready(self, worker: WorkerInfo) -> None:
        self.monitor.follow(worker)

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self._say(f"worker {worker.index} ({worker.device}) was lost: {reason}", "red")

    def job_ended(self, job: Job, ended: Ended) -> None:
        if ended.state == "failed":
            self._say(f"{job.study}: {describe(job, ended)}", "red")

    def _say(self, text: str, style: str) -> None:
        self.out.print(Text(terminal.shown(text), style))
