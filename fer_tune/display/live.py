"""Shows a run in place: where the output is a terminal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from fer_tune.display import terminal
from fer_tune.display.lines import describe
from fer_tune.display.run_state import RunState
from fer_tune.display.view import draw
from fer_tune.jobs import Ended, Observer, Plan, StudyOutcome
from fer_tune.pool.monitor import Monitor

if TYPE_CHECKING:
    from types import TracebackType

    from fer_tune.job import EpochRow, Job, StepProgress
    from fer_tune.pool import WorkerInfo
    from fer_tune.study import Counts

REFRESH = 4
"""Drawings a second, at most."""

Recall = Callable[[RunState], None]
"""Adds what the database knows to the state of a study that was opened."""


class LiveView(Observer):
    """Draws the run state below the lines that were printed so far. Use it as a context manager.

    A thread draws while the run changes the state, so both take the lock. An error in that thread could not be heard
    by whoever guards the observers: it is logged, and a line takes the place of the drawing.

    Args:
        recall: adds what the database knows of a study that was opened, such as the trials of earlier runs.
    """

    def __init__(self, out: Console, recall: Recall = lambda state: None) -> None:
        self.out = out
        self.state = RunState()
        self.monitor = Monitor()
        self._recall = recall
        self._failed = False
        self._lock = threading.RLock()
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
            with self._lock:
                return draw(self.state, self.out.width, self.out.height, self.monitor)
        except Exception:
            if not self._failed:
                self._failed = True
                logging.getLogger(__name__).exception("The live view could not be drawn.")
            return Text("The live view could not be drawn. The run continues.", "red")

    def note(self, text: str) -> None:
        terminal.line(self.out, (text, "dim"))

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        state = RunState(workers=self.state.workers)
        state.study_opened(plan, counts, workers)
        self._recall(state)
        with self._lock:
            self.state = state
        for worker in workers:
            self.monitor.follow(worker)
        self._live.refresh()

    def worker_ready(self, worker: WorkerInfo) -> None:
        with self._lock:
            self.state.worker_ready(worker)
        self.monitor.follow(worker)

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        with self._lock:
            self.state.worker_lost(worker, reason, log_tail)
        terminal.line(self.out, (f"worker {worker.index} ({worker.device}) was lost: {reason}", "red"))

    def job_started(self, job: Job, worker: WorkerInfo) -> None:
        with self._lock:
            self.state.job_started(job, worker)

    def job_progress(self, job: Job, progress: StepProgress) -> None:
        with self._lock:
            self.state.job_progress(job, progress)

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        with self._lock:
            self.state.epoch(job, row, value, replayed)

    def job_ended(self, job: Job, ended: Ended) -> None:
        with self._lock:
            self.state.job_ended(job, ended)
        if ended.state == "failed":
            terminal.line(self.out, (f"{job.study}: {describe(job, ended)}", "red"))

    def study_closed(self, outcome: StudyOutcome) -> None:
        with self._lock:
            self.state.study_closed(outcome)
