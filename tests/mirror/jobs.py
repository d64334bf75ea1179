"""Jobs of the study `tiny` on paper: begun, trained and ended in the database alone."""

from __future__ import annotations

import json
from pathlib import Path

from fer_tune.job import Job, JobEnd, Kind
from fer_tune.settings import Settings
from fer_tune.store import Store
from tests.studies import epoch_row, uid_of


def begin(store: Store, number: int, *, attempt: int = 0, kind: Kind = "search", mirrored: bool = True) -> Job:
    """Records an attempt at a job.

    A final fit has a number here too, from which its rows follow.
    """
    job = Job(
        uid=uid_of(number),
        study="tiny",
        kind=kind,
        family="simple_cnn",
        params={"lr": 1e-3, "width": 8},
        schedule=3,
        seed=number,
        data=store.studies.get("tiny").data_ref(store.root),
        number=number if kind == "search" else None,
        attempt=attempt,
    )
    store.jobs.put(job, mirrored=mirrored, origin={"trial": 1} if kind == "final" else None)
    store.jobs.start_attempt(job, 0, "cpu")
    return job


def train(store: Store, job: Job, values: dict[int, float]) -> None:
    """Records epochs of a job with these accuracies."""
    for epoch, value in values.items():
        store.epochs.add(epoch_row(job.seed, epoch, value, job.attempt))


def end(store: Store, job: Job, state: str = "complete", value: float | None = None, reason: str = "") -> None:
    """Records that a job is over."""
    store.jobs.end_attempt(JobEnd(job.uid, job.attempt, "completed", parameters=1234))
    store.jobs.set_state(job.uid, state, reason, value)


def evaluate(store: Store, settings: Settings, job: Job) -> Path:
    """Leaves the files of an evaluated final fit, and their records. Returns the folder."""
    folder = settings.artifacts / "tiny" / job.uid
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    (folder / "config.json").write_text("{}")
    (folder / "confusion.json").write_text("[]")
    (folder / "confusion.png").write_bytes(b"a picture")
    metrics = {"images": 98, "test_images": 21, "test_openings": 1, "test": {"plain": {"accuracy": 0.5}}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    files = {"model": "model.safetensors", "confusion": "confusion.json", "confusion_png": "confusion.png"}
    for kind, name in {**files, "metrics": "metrics.json"}.items():
        store.artifacts.add("tiny", job.uid, kind, folder / name)
    return folder
