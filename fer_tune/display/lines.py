"""Shows a run as plain lines: where the output is a file or a pipe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from fer_tune.display import terminal
from fer_tune.job import NOUNS
from fer_tune.jobs import Ended, Observer, Plan

if TYPE_CHECKING:
    from fer_tune.job import EpochRow, Job, StepProgress
    from fer_tune.pool import WorkerInfo
    from fer_tune.study import Counts

PROGRESS_SECONDS = 30.0
"""Between two lines on the progress of the running jobs."""


class Lines(Observer):
    """Writes a line for each event of a job, with the local time."""

    def __init__(self, out: terminal.Output, *, epochs: bool = False) -> None:
        """
        Args:
            epochs: whether each epoch gets a line.
        """
        self.out, self._epochs = out, epochs
        self._progress: dict[str, str] = {}
        self._due = time.monotonic() + PROGRESS_SECONDS

    def note(self, text: str) -> None:
        self._line(text)

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        devices = ", ".join(worker.device for worker in workers)
        self._line(f"{plan.study}: {progress(counts.finished, plan.jobs, NOUNS[plan.kind])}; workers: {devices}")

    def mirror_opened(self, tracker: str, place: str) -> None:
        self._line(f"copied to {tracker}: {place}")

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self._line(f"worker {worker.index} ({worker.device}) was lost: {reason}")

    def lanes_changed(self, worker: WorkerInfo) -> None:
        lanes = "1 lane" if worker.lanes == 1 else f"{worker.lanes} lanes"
        self._line(f"worker {worker.index} ({worker.device}) has {lanes} now")

    def job_started(self, job: Job, worker: WorkerInfo, lane: int = 0) -> None:
        name = f", {job.name}" if job.name else ""
        begins = "continues" if job.attempt else "started"
        where = f"worker {worker.index}, lane {lane}" if worker.lanes > 1 else f"worker {worker.index}"
        self._line(f"{job.study}: {job.label} {begins} on {where} ({worker.device}){name}")

    def job_progress(self, job: Job, progress: StepProgress) -> None:
        step = f"step {progress.step}/{progress.steps}"
        self._progress[job.uid] = f"{job.label} epoch {progress.epoch}/{job.last_epoch} {step}"
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + PROGRESS_SECONDS
            self._line(f"{job.study}: {', '.join(self._progress.values())}")

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        self._progress.pop(job.uid, None)
        if self._epochs and not replayed:
            measured = f"{_measured(job, value)}, train loss {row.train_loss:.4f}, {terminal.duration(row.seconds)}"
            self._line(f"{job.study}: {job.label} epoch {row.epoch}/{job.last_epoch}: {measured}")

    def job_ended(self, job: Job, ended: Ended) -> None:
        self._progress.pop(job.uid, None)
        self._line(f"{job.study}: {describe(job, ended)}")

    def _line(self, text: str) -> None:
        self.out.line(f"{datetime.now():%H:%M:%S} {text}")  # noqa: DTZ005 - local, for people


def progress(finished: int, budget: int, noun: str) -> str:
    """Returns how many jobs of a budget are finished. A smaller budget may follow a larger one."""
    if finished > budget:
        return f"{terminal.many(finished, noun)} finished, more than the budget of {budget:,}"
    return f"{finished:,} of {terminal.many(budget, noun)} finished"


def _measured(job: Job, value: float) -> str:
    """Returns a value of a job in per cent. Without a validation part it is that of the images that
    are trained on, and says so."""
    return f"{terminal.percent(value)}{' in training' if job.objective == 'train_accuracy' else ''}"


def describe(job: Job, ended: Ended) -> str:
    """Returns how a job ended, in one line."""
    value = "" if ended.value is None else f" at {_measured(job, ended.value)}"
    epochs = "1 epoch" if ended.epochs == 1 else f"{ended.epochs} epochs"
    reason = f" ({ended.reason})" if ended.reason else ""
    return f"{job.label} {ended.state}{value}, {epochs}, {terminal.duration(ended.seconds)}{reason}"
