"""A list of jobs: one configuration under several seeds, each trained once.

Final fits are such a list too; see `test_retrain.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fer_tune.job import Job, Value, new_uid
from fer_tune.jobs import Observer, Plan, StudyOutcome
from fer_tune.jobs.runner import Runner
from fer_tune.jobs.signals import Signals
from fer_tune.pool import InlinePool, WorkerInfo
from fer_tune.settings import Settings
from fer_tune.sources.job_list import JobList
from fer_tune.store import Store, StudyLock
from tests.pool.trainers import obedient
from tests.studies import make_study


class Started(Observer):
    """Counts the jobs that were started."""

    jobs = 0

    def job_started(self, job: Job, worker: WorkerInfo, lane: int = 0) -> None:
        self.jobs += 1


def repeats(store: Store, values: list[float]) -> list[Job]:
    """Returns a job for each value, which the trainer of tests reports from then on."""
    data = store.studies.get("tiny").data_ref(store.root)
    params: list[dict[str, Value]] = [{"value": value} for value in values]
    return [
        Job(new_uid(), "tiny", "confirm", "simple_cnn", one, 2, seed, data) for seed, one in enumerate(params, start=7)
    ]


def trained(store: Store, settings: Settings, jobs: list[Job]) -> tuple[StudyOutcome, int]:
    """Trains the list. Returns the outcome, and the number of jobs that were started."""
    lock = StudyLock(settings, settings.url, "tiny repeats")
    plan = Plan("tiny", "confirm", "simple_cnn", "demo", "val_accuracy", len(jobs), 2)
    watch = Started()
    with lock:
        source = JobList(store, plan, jobs, lock=lock, origin={"trial": 1})
        outcome = Runner(source, InlinePool(["cpu"], obedient), store, watch, Signals()).run()
    return outcome, watch.jobs


def test_each_job_is_trained_once_and_keeps_its_value(settings: Settings) -> None:
    with make_study(settings) as store:
        jobs = repeats(store, [0.3, 0.6])
        outcome, started = trained(store, settings, jobs)
        assert (outcome.counts.complete, outcome.best, started) == (2, 1, 2)
        jobs += repeats(store, [0.5])
        outcome, started = trained(store, settings, jobs)
        assert (outcome.counts.complete, started) == (3, 1)
        found = store.jobs.of("tiny", "confirm")
        assert [(job.seed, round(job.value or 0, 2), job.origin) for job in found] == [
            (7, 0.32, {"trial": 1}),
            (8, 0.62, {"trial": 1}),
            (7, 0.52, {"trial": 1}),
        ]


def test_a_job_that_a_killed_process_left_is_trained_again(settings: Settings) -> None:
    with make_study(settings) as store:
        [job] = repeats(store, [0.3])
        store.jobs.put(job)
        store.jobs.start_attempt(job, 0, "cpu")
        outcome, started = trained(store, settings, [replace(job, attempt=1)])
        assert (outcome.counts.complete, started) == (1, 1)
        first, second = store.jobs.attempts("tiny", job.uid)
        assert (first.status, second.status) == ("lost", "completed")


def test_the_checkpoint_of_a_job_that_has_ended_is_removed(settings: Settings, tmp_path: Path) -> None:
    with make_study(settings) as store:
        jobs = [replace(job, checkpoint=tmp_path / job.uid) for job in repeats(store, [0.3, 0.6])]
        for job, state in zip(jobs, ("complete", "queued"), strict=True):
            store.jobs.put(job)
            store.jobs.set_state(job.uid, state)
            assert job.checkpoint is not None
            job.checkpoint.write_bytes(b"state")
        plan = Plan("tiny", "confirm", "simple_cnn", "demo", "val_accuracy", len(jobs), 2)
        JobList(store, plan, jobs, lock=StudyLock(settings, settings.url, "tiny repeats"), origin={"trial": 1})
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [jobs[1].uid]
