"""Functions of the user's own hear of each trial that ends, and cannot end a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_tune.job import Job
from fer_tune.jobs import Ended
from fer_tune.jobs.callbacks import Callbacks
from fer_tune.jobs.observers import Observers
from fer_tune.settings import Settings
from tests.studies import job_of, make_study


@pytest.fixture
def job(settings: Settings) -> Job:
    with make_study(settings, ()) as store:
        return job_of(3, store.studies.get("tiny").data_ref(store.root))


def ended(job: Job) -> Ended:
    return Ended(job.uid, job.number, "complete", 0.5, "", 3, 1.0)


def test_each_function_hears_of_each_end(job: Job, tmp_path: Path) -> None:
    heard: list[tuple[int | None, float | None]] = []
    observers = Observers(
        [Callbacks([lambda job, ended: heard.append((job.number, ended.value))] * 2)], tmp_path / "log"
    )
    observers.job_ended(job, ended(job))
    assert heard == [(3, 0.5), (3, 0.5)]


def test_an_error_ends_the_callbacks_and_not_the_run(job: Job, tmp_path: Path) -> None:
    heard: list[str] = []

    def fail(job: Job, ended: Ended) -> None:
        heard.append("failed")
        raise RuntimeError("made to fail")

    observers = Observers([Callbacks([fail])], tmp_path / "log")
    for _ in range(2):
        observers.job_ended(job, ended(job))
    assert heard == ["failed"]
    assert "made to fail" in (tmp_path / "log").read_text()
