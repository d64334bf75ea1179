"""The usual final fits of a trial: their figures on test are compared with that of the search.

A final fit is usual if it was trained on training and validation images, without changes, and over
a schedule that is not shorter than the study's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from fer_tune.errors import StorageError
from fer_tune.job import Value
from fer_tune.store import ArtifactRecord, Store, StudyRecord
from fer_tune.sweep.space import show

METRICS = "metrics"
"""Kind of the file with the figures of a fit, which is recorded last."""


def unusual(study: StudyRecord, *, on: str, changes: Mapping[str, Value], schedule: int) -> list[str]:
    """Returns how a final fit differs from a usual one, in words; nothing if it is a usual one.

    Args:
        study: whose trial was trained.
        on: the part of the data that it was trained on.
        changes: hyperparameters that replaced the trial's.
        schedule: number of epochs of its learning-rate schedule.
    """
    whole, said = int(study.sweep_json["epochs"]), []
    if on != "train+val":
        said.append("on the training images alone" if on == "train" else "on all images")
    if changes:
        said.append("with " + ", ".join(f"{name}={show(value)}" for name, value in changes.items()))
    if schedule < whole:
        said.append(f"over a schedule of {schedule} instead of {whole} epochs")
    return said


@dataclass(frozen=True)
class OnTest:
    """What a trial's usual final fits reached on test.

    Attributes:
        accuracies: plain ones, by seed.
        openings: how often the test images had been opened with the last of them; 0 if unknown.
    """

    accuracies: list[float]
    openings: int = 0


def on_test(store: Store, study: StudyRecord, trial: int) -> OnTest:
    """Returns what a trial's usual final fits reached on test.

    Fits of different lengths are not mixed: those of the latest fit's length count. Of several fits
    under one seed, the latest counts.
    """
    fits: list[_Fit] = []
    for job in store.jobs.of(study.name, "final"):
        if job.origin.get("trial") == trial:
            files = [file for file in store.artifacts.of(study.name, job.uid) if file.kind == METRICS]
            fits += [fit for file in files if (fit := _read(store, study, file)) is not None]
    by_seed = {fit.seed: fit for fit in fits if fit.length == fits[-1].length}
    some = [by_seed[seed] for seed in sorted(by_seed)]
    return OnTest([fit.accuracy for fit in some], max((fit.openings for fit in some), default=0))


@dataclass(frozen=True)
class _Fit:
    """What counts of a fit. Its length is the epochs of its schedule, and those that it trained."""

    seed: int
    length: tuple[int, int]
    accuracy: float
    openings: int


def _read(store: Store, study: StudyRecord, file: ArtifactRecord) -> _Fit | None:
    """Returns a usual fit that was tested. None for others, and if the file is damaged or gone."""
    try:
        known = json.loads(store.artifacts.path(file).read_text("utf-8"))
        schedule = int(known["schedule"])
        if unusual(study, on=known["on"], changes=known["changes"], schedule=schedule):
            return None
        accuracy, openings = float(known["test"]["plain"]["accuracy"]), int(known.get("test_openings") or 0)
        return _Fit(int(known["seed"]), (schedule, int(known["epochs"])), accuracy, openings)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StorageError):
        return None
