"""A run as plain lines: where the output is a file or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from fer_tune.display import terminal
from fer_tune.jobs import Ended, Observer, Plan

if TYPE_CHECKING:
    from fer_tune.job import Job
    from fer_tune.pool import WorkerInfo
    from fer_tune.study import Counts


class Lines(Observer):
    """One line for each event of a trial, with the local time."""

    def __init__(self, out: terminal.Output) -> None:
        self.out = out

    def note(self, text: str) -> None:
        self._line(text)

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        devices = ", ".join(worker.device for worker in workers)
        self._line(f"{plan.study}: {counts.finished} of {plan.jobs} trials finished; workers: {devices}")

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self._line(f"worker {worker.index} ({worker.device}) was lost: {reason}")

    def job_started(self, job: Job, worker: WorkerInfo) -> None:
        told = f"{job.study}: {job.label} started on worker {worker.index} ({worker.device})"
        self._line(told + (f", {job.name}" if job.name else "") + (f", attempt {job.attempt}" if job.attempt else ""))

    def job_ended(self, job: Job, ended: Ended) -> None:
        self._line(f"{job.study}: {describe(ended)}")

    def _line(self, text: str) -> None:
        self.out.line(f"{datetime.now():%H:%M:%S} {text}")  # noqa: DTZ005 - local, for people


def describe(ended: Ended) -> str:
    """A trial's end in one line."""
    name = f"trial {ended.number}" if ended.number is not None else f"final fit {ended.job}"
    value = "" if ended.value is None else f" at {terminal.percent(ended.value)}"
    reason = f" ({ended.reason})" if ended.reason else ""
    return f"{name} {ended.state}{value}, {ended.epochs} epochs, {terminal.duration(ended.seconds)}{reason}"
