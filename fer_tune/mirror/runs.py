"""What a tracker must know about a job, read from the database: the same whenever it is read.

A job is one run, whatever interrupted it. Its epochs are those that count for the report too
(`job.merged`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fer_tune.errors import StorageError
from fer_tune.job import EpochRow
from fer_tune.mirror.tracker import Bundle, Run
from fer_tune.store import AttemptRecord, JobRecord, Store, StudyRecord
from fer_tune.store.epochs import MEASURES

OVER = ("complete", "pruned", "failed")
"""States of a job to which nothing will be added. A final fit must also be evaluated."""

QUALITY = tuple(name for name in MEASURES if name.endswith(("loss", "accuracy", "f1")))
"""Measures of how good a network is. The others say how it was trained."""

EVALUATED = "metrics"
"""Kind of the file that the evaluation of a final fit records last."""


def run_of(store: Store, study: StudyRecord, job: JobRecord, *, run_id: str, best: bool) -> Run:
    """Returns the run of a job.

    Args:
        run_id: of the run; a job from a database of an older version keeps the one that it had.
        best: whether the job is the best of its study.
    """
    rows = store.epochs.curve(study.name, job.uid)
    files = final_files(store, job) if job.kind == "final" else {}
    over = job.state in OVER and (job.kind != "final" or job.state != "complete" or EVALUATED in files)
    summary: dict[str, Any] = {"state": job.state}
    if over:
        summary |= _ending(job, rows, store.jobs.attempts(study.name, job.uid), study.objective)
        summary |= _test_figures(files)
    tags = [study.family, *(state for state in ("pruned", "failed") if job.state == state)]
    return Run(
        job=job.uid,
        id=run_id,
        name=f"{study.name}-{job.kind}-{job.uid}" if job.number is None else f"{study.name}-{job.number:05d}",
        group=study.name,
        job_type=job.kind,
        tags=(*tags, *(["best"] if best else [])),
        config=dict(job.params) | _origin(study) | _choices(job),
        history=tuple(_measured(row, study.data_spec.classes) for row in rows),
        summary={key: value for key, value in summary.items() if value is not None},
        at=(rows[-1].attempt, rows[-1].epoch) if rows else (0, 0),
        over=over,
        failed=job.state == "failed",
        bundles=_bundles(study.name, files) if over else (),
    )


def best_job(jobs: Iterable[JobRecord]) -> str | None:
    """Returns the uid of the best complete job of a search, the first of equal ones;

    None if there is none.
    """
    found = [(job.value, job) for job in jobs if job.kind == "search" and job.state == "complete"]
    valued = [(value, job) for value, job in found if value is not None]
    return max(valued, key=lambda one: (one[0], -(one[1].number or 0)))[1].uid if valued else None


def record_holders(jobs: Iterable[JobRecord]) -> list[str]:
    """Returns the jobs that were the best of their search when they ended, in that order."""
    holders, highest = [], -math.inf
    ended = [(job.ended, job) for job in jobs if job.kind == "search" and job.state == "complete"]
    for _, job in sorted(((at, job) for at, job in ended if at is not None), key=lambda one: (one[0], one[1].number)):
        if job.value is not None and job.value > highest:
            holders.append(job.uid)
            highest = job.value
    return holders


# within --------------------------------------------------------------------------------------------------------------


def _origin(study: StudyRecord) -> dict[str, Any]:
    """Returns what a study searched for, in which space, on which data."""
    return {
        "family": study.family,
        "study": study.name,
        "objective": study.objective,
        "sweep_signature": study.sweep_signature,
        "data_signature": study.data_signature,
        "split_hash": study.split.hash,
    }


def _choices(job: JobRecord) -> dict[str, Any]:
    """Returns which job this is and how it is trained."""
    trial = job.origin.get("trial") if job.number is None else job.number
    choices = {"job": job.uid, "trial": trial, "start": job.name, "seed": job.seed, "schedule": job.schedule}
    return {name: value for name, value in choices.items() if value is not None}


def _measured(row: EpochRow, classes: Sequence[str]) -> dict[str, float]:
    """Returns an epoch as a tracker keeps it. What was not measured (nan) is left out."""
    values: dict[str, float] = {name: float(getattr(row, name)) for name in MEASURES}
    values |= {f"recall/{name}": value for name, value in zip(classes, row.recall, strict=True)}
    return {"epoch": row.epoch} | {name: value for name, value in values.items() if not math.isnan(value)}


def _ending(
    job: JobRecord, rows: Sequence[EpochRow], attempts: Sequence[AttemptRecord], objective: str
) -> dict[str, Any]:
    """Returns how a job ended, and its best epoch.

    A tracker keeps the last epoch's values by itself.
    """
    ending: dict[str, Any] = {
        "reason": job.reason or None,
        "objective_value": job.value,
        "epochs": len(rows),
        "attempts": len(attempts),
        "training_seconds": sum(row.seconds for row in rows),  # `seconds` is an epoch's
        "parameters": max((attempt.parameters for attempt in attempts), default=0) or None,
        "device": attempts[-1].device if attempts else None,
        "lane": attempts[-1].lane if attempts else None,
        "training_device_seconds": sum(row.device_seconds for row in rows),
    }
    finite = [row for row in rows if math.isfinite(getattr(row, objective))]
    if finite:
        best = max(finite, key=lambda row: float(getattr(row, objective)))  # the first of equal ones
        ending |= {f"best_{name}": value for name in ("epoch", *QUALITY) if math.isfinite(value := getattr(best, name))}
    return ending


def final_files(store: Store, job: JobRecord) -> dict[str, Path]:
    """Returns the files of a final fit that still exist, by kind."""
    found = {}
    for artifact in store.artifacts.of(job.study, job.uid):
        try:
            path = store.artifacts.path(artifact)
        except StorageError:  # somebody else wrote the record
            continue
        found[artifact.kind] = path
    return found


def _test_figures(files: dict[str, Path]) -> dict[str, Any]:
    """Returns what the evaluation of a final fit measured.

    Files that were deleted or damaged say nothing.
    """
    if EVALUATED not in files:
        return {}
    try:
        metrics = json.loads(files[EVALUATED].read_text(encoding="utf-8"))
        figures = {name: metrics[name] for name in ("images", "test_images", "test_openings")}
        for way, scores in metrics["test"].items():
            figures |= {f"test/{way}/{name}": float(value) for name, value in scores.items()}
        return figures
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _bundles(study: str, files: dict[str, Path]) -> tuple[Bundle, ...]:
    """Returns the model and the confusion matrix of a final fit, as far as the files exist.

    A study has one collection of each. A fit adds a version, and content that is there adds none.
    """
    found = []
    model = files.get("model")
    groups = {
        "model": (model, model and model.with_name("config.json")),
        "confusion-matrix": (files.get("confusion"), files.get("confusion_png")),
    }
    for kind, paths in groups.items():
        present = tuple(path for path in paths if path is not None and path.is_file())
        if present:
            found.append(Bundle(f"{study}-{kind.partition('-')[0]}", kind, present))
    return tuple(found)
