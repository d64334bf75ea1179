"""Shows a run as plain lines: where the output is a file or a pipe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from fer_tune.display import terminal
from fer_tune.jobs import Ended, Observer

if TYPE_CHECKING:
    from fer_tune.job import EpochRow, Job, StepProgress
    from fer_tune.pool import WorkerInfo
    from fer_tune.study import Counts
    from fer_tune.sweep.schema import Sweep

PROGRESS_SECONDS = 30.0
"""Between two lines on the progress of the running jobs."""


class Lines(Observer):
    """Writes a line for each event of a trial, with the local time."""

    def __init__(self, out: terminal.Output) -> None:
        self.out = out
        self._progress: dict[int, str] = {}
        self._due = time.monotonic() + PROGRESS_SECONDS

    def note(self, text: str) -> None:
        self._line(text)

    def study_opened(self, sweep: Sweep, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        devices = ", ".join(worker.device for worker in workers)
        self._line(f"{sweep.study}: {counts.finished} of {sweep.budget.trials} trials finished; workers: {devices}")

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self._line(f"worker {worker.index} ({worker.device}) was lost: {reason}")

    def trial_started(self, spec: Job, worker: WorkerInfo, name: str | None) -> None:
        text = f"{spec.study}: trial {spec.number} started on worker {worker.index} ({worker.device})"
        self._line(text + (f", {name}" if name else "") + (f", attempt {spec.attempt}" if spec.attempt else ""))

    def job_progress(self, spec: Job, progress: StepProgress) -> None:
        step = f"epoch {progress.epoch}/{spec.epochs} step {progress.step}/{progress.steps}"
        self._progress[spec.number] = f"trial {spec.number} {step}"
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + PROGRESS_SECONDS
            self._line(f"{spec.study}: {', '.join(self._progress.values())}")

    def epoch(self, spec: Job, row: EpochRow, value: float) -> None:
        self._progress.pop(spec.number, None)

    def trial_ended(self, spec: Job, ended: Ended) -> None:
        self._progress.pop(spec.number, None)
        self._line(f"{spec.study}: {describe(ended)}")

    def _line(self, text: str) -> None:
        self.out.line(f"{datetime.now():%H:%M:%S} {text}")  # noqa: DTZ005 - local, for people


def describe(ended: Ended) -> str:
    """Returns how a trial ended, in one line."""
    value = "" if ended.value is None else f" at {terminal.percent(ended.value)}"
    epochs = "1 epoch" if ended.epochs == 1 else f"{ended.epochs} epochs"
    reason = f" ({ended.reason})" if ended.reason else ""
    return f"trial {ended.number} {ended.state}{value}, {epochs}, {terminal.duration(ended.seconds)}{reason}"
