"""The supervisor looks at every job, and not for every message of hundreds of jobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from fer_tune.data.spec import DataRef
from fer_tune.job import Job
from fer_tune.jobs.limits import Pace
from fer_tune.jobs.running import Running
from fer_tune.jobs.started_jobs import StartedJobs
from fer_tune.jobs.supervisor import BETWEEN_SECONDS, Supervisor
from fer_tune.pool import WorkerInfo


@dataclass
class Jobs:
    """Stands for the started jobs of a run and for its pool. Counts how often all are seen."""

    running: Any
    time: float = 0.0
    ended: list[int] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    @property
    def pool(self) -> Jobs:
        return self

    def end_worker(self, worker: int, why: str) -> None:
        self.ended.append(worker)


class Counted(dict[str, Running]):
    """Counts how often its values are read."""

    looks = 0

    def values(self) -> Any:
        self.looks += 1
        return super().values()


def started() -> tuple[Supervisor, Jobs, Counted]:
    job = Job("a", "s", "search", "resnet", {}, 3, 0, DataRef(Path(), "d", Path(), "s"), number=0)
    running = Counted(a=Running(job, worker=WorkerInfo(0, "cpu", None)))
    jobs = Jobs(running)
    return Supervisor(cast(StartedJobs, jobs), Pace(1.0, slowest=0.01), None), jobs, running


def test_it_looks_at_all_jobs_some_times_a_second_however_often_it_is_called() -> None:
    supervisor, jobs, running = started()
    for step in range(1000):
        jobs.time = step / 1000
        supervisor.look()
    assert 10 < running.looks < 2 / BETWEEN_SECONDS


def test_a_silent_worker_is_ended_soon_after_its_time() -> None:
    supervisor, jobs, _ = started()
    while not jobs.ended:
        jobs.time += 0.001
        supervisor.look()
    assert jobs.ended == [0]
    assert 1.0 < jobs.time < 1.0 + 2 * BETWEEN_SECONDS
