"""A run in place: where the output is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from fer_tune.display.lines import describe
from fer_tune.display.run_state import RunState
from fer_tune.display.view import View
from fer_tune.jobs import Ended, Observer, Plan, StudyOutcome
from fer_tune.pool.monitor import Monitor

if TYPE_CHECKING:
    from types import TracebackType

    from fer_tune.job import EpochRow, Job
    from fer_tune.pool import WorkerInfo
    from fer_tune.study import Counts

REFRESH = 4
"""Drawings a second, at most."""

Recall = Callable[[RunState], None]
"""Puts the trials of earlier turns on a board whose study has been opened."""


class LiveView(Observer):
    """Draws the board below what was said so far; use it as a context manager.

    Args:
        recall: reads what happened before this run, for a study that is continued.
    """

    def __init__(self, out: Console, recall: Recall | None = None) -> None:
        self.out = out
        self.board = RunState()
        self.gauges = Monitor()
        self._recall = recall
        self._live = Live(console=out, get_renderable=self.draw, refresh_per_second=REFRESH, transient=True)

    def __enter__(self) -> LiveView:
        self.gauges.__enter__()
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        self.gauges.__exit__()

    def draw(self) -> View:
        """The view as it is now."""
        return View(self.board, self.gauges, self.out.height)

    def note(self, text: str) -> None:
        self.out.print(Text(text, style="dim"), soft_wrap=True)

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        board = RunState(places=self.board.places)
        board.study_opened(plan, counts, workers)
        if counts.finished and self._recall is not None:
            self._recall(board)
        self.board = board
        for worker in workers:
            self.gauges.follow(worker)
        self._live.refresh()

    def worker_ready(self, worker: WorkerInfo) -> None:
        self.board.worker_ready(worker)
        self.gauges.follow(worker)

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self.board.worker_lost(worker, reason, log_tail)
        self.out.print(Text(f"worker {worker.index} ({worker.device}) was lost: {reason}", style="red"))

    def job_started(self, job: Job, worker: WorkerInfo) -> None:
        self.board.job_started(job, worker)

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        self.board.epoch(job, row, value, replayed)

    def job_ended(self, job: Job, ended: Ended) -> None:
        self.board.job_ended(job, ended)
        if ended.state == "failed":
            self.out.print(Text(f"{job.study}: {describe(ended)}", style="red"))

    def study_closed(self, outcome: StudyOutcome) -> None:
        self.board.study_closed(outcome)
