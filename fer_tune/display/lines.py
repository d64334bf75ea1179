"""A run as plain lines: where the output is a file or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from fer_tune.display import terminal
from fer_tune.jobs import Ended, Observer

if TYPE_CHECKING:
    from fer_tune.job import Job
    from fer_tune.pool import WorkerInfo
    from fer_tune.study import Counts
    from fer_tune.sweep.schema import Sweep


class Lines(Observer):
    """One line for each event of a trial, with the local time."""

    def __init__(self, out: terminal.Output) -> None:
        self.out = out

    def note(self, text: str) -> None:
        self._line(text)

    def study_opened(self, sweep: Sweep, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        devices = ", ".join(worker.device for worker in workers)
        self._line(f"{sweep.study}: {counts.finished} of {sweep.budget.trials} trials finished; workers: {devices}")

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self._line(f"worker {worker.index} ({worker.device}) was lost: {reason}")

    def trial_started(self, spec: Job, worker: WorkerInfo, name: str | None) -> None:
        told = f"{spec.study}: trial {spec.number} started on worker {worker.index} ({worker.device})"
        self._line(told + (f", {name}" if name else "") + (f", attempt {spec.attempt}" if spec.attempt else ""))

    def trial_ended(self, spec: Job, ended: Ended) -> None:
        self._line(f"{spec.study}: {describe(ended)}")

    def _line(self, text: str) -> None:
        self.out.line(f"{datetime.now():%H:%M:%S} {text}")  # noqa: DTZ005 - local, for people


def describe(ended: Ended) -> str:
    """A trial's end in one line."""
    value = "" if ended.value is None else f" at {terminal.percent(ended.value)}"
    reason = f" ({ended.reason})" if ended.reason else ""
    return (
        f"trial {ended.number} {ended.state}{value}, {ended.epochs} epochs, {terminal.duration(ended.seconds)}{reason}"
    )
