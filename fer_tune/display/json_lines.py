"""Shows a run to machines: a JSON object a line. docs/json-lines.md lists the fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fer_tune.display import terminal
from fer_tune.errors import FerTuneError
from fer_tune.jobs import Ended, Observer, Plan, StudyOutcome

if TYPE_CHECKING:
    from types import TracebackType

    from fer_tune.job import EpochRow, Job, StepProgress
    from fer_tune.pool import WorkerInfo
    from fer_tune.study import Counts


class JsonLines(Observer):
    """Writes every event when it happens. The last one is `run_ended`, also after an error."""

    def __init__(self, out: terminal.Output) -> None:
        self.out = out

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        message = error.message if isinstance(error, FerTuneError) else kind.__name__ if kind else None
        self._write("run_ended", error=message)

    def note(self, text: str) -> None:
        self._write("note", text=text)

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        self._write(
            "study_opened",
            study=plan.study,
            kind=plan.kind,
            family=plan.family,
            data=plan.data,
            objective=plan.objective,
            budget=dict(plan.budget),
            counts=asdict(counts),
            workers=[_worker(worker) for worker in workers],
        )

    def mirror_opened(self, tracker: str, place: str) -> None:
        self._write("mirror_opened", tracker=tracker, place=place)

    def worker_ready(self, worker: WorkerInfo) -> None:
        self._write("worker_ready", **_worker(worker))

    def worker_lost(self, worker: WorkerInfo, reason: str, log_tail: str) -> None:
        self._write("worker_lost", **_worker(worker), reason=reason, log_tail=log_tail)

    def lanes_changed(self, worker: WorkerInfo) -> None:
        self._write("lanes_changed", **_worker(worker))

    def job_started(self, job: Job, worker: WorkerInfo, lane: int = 0) -> None:
        self._of_job(
            "trial_started",
            job,
            **_worker(worker),
            lane=lane,
            name=job.name,
            family=job.family,
            params=job.params,
            epochs=job.schedule,
            until=job.last_epoch,
            seed=job.seed,
        )

    def job_progress(self, job: Job, progress: StepProgress) -> None:
        self._of_job("job_progress", job, epoch=progress.epoch, step=progress.step, steps=progress.steps)

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        measured = {name: of for name, of in asdict(row).items() if name not in {"job", "attempt"}}
        self._of_job("epoch", job, value=value, replayed=replayed, **measured)

    def job_ended(self, job: Job, ended: Ended) -> None:
        facts = {name: getattr(ended, name) for name in ("state", "value", "reason", "epochs", "seconds")}
        self._of_job("trial_ended", job, **facts)

    def study_closed(self, outcome: StudyOutcome) -> None:
        self._write("study_closed", **asdict(outcome))

    def _of_job(self, event: str, job: Job, **facts: Any) -> None:
        who = {"job": job.uid, "kind": job.kind, "trial": job.number, "attempt": job.attempt}
        self._write(event, study=job.study, **who, **facts)

    def _write(self, event: str, **facts: Any) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        content = terminal.plain({"time": time, "event": event, **facts})
        self.out.line(json.dumps(content, allow_nan=False, ensure_ascii=False))


def _worker(worker: WorkerInfo) -> dict[str, Any]:
    return {"worker": worker.index, "device": worker.device, "pid": worker.pid, "lanes": worker.lanes}
