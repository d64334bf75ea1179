"""What a report says of a study, read from the database and from what a retrain left."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna

from fer_tune.data import cache
from fer_tune.data.audit import Audit, audit
from fer_tune.data.dataset import Dataset
from fer_tune.data.fer2013 import BY_HAND, ByHand
from fer_tune.errors import DataError
from fer_tune.job import EpochRow, by_pruner
from fer_tune.report.mistakes import Mistake, worst
from fer_tune.selection.statistics import standard_error
from fer_tune.settings import Settings
from fer_tune.store import ArtifactRecord, Store, StudyRecord, is_run
from fer_tune.study import Counts, TrialSummary, ranking, trials
from fer_tune.study.storage import optuna_storage
from fer_tune.study.trial_states import REASON, count


@dataclass(frozen=True)
class Retrained:
    """A final fit: the contents of its `metrics.json`, the plain counts of its `confusion.json`, its worst mistakes."""

    metrics: dict[str, Any]
    confusion: list[list[int]]
    mistakes: list[Mistake] = field(default_factory=list)

    @property
    def recall(self) -> list[float]:
        """By class; nan where there is no image of it."""
        return [row[i] / sum(row) if sum(row) else math.nan for i, row in enumerate(self.confusion)]


@dataclass(frozen=True)
class Spent:
    """What the trials cost.

    Attributes:
        seconds: of training, over all trials and workers.
        epochs, planned: epochs that were trained; epochs that the trials would have had, had none been stopped.
        saved: seconds that the pruner saved, at each pruned trial's own pace.
        gpu: seconds of `seconds` that were spent on GPUs.
        wall: seconds in which at least one trial ran.
    """

    seconds: float
    epochs: int
    planned: int
    saved: float
    gpu: float
    wall: float


@dataclass(frozen=True)
class StudyReport:
    """All that a report says of one study.

    Attributes:
        best: the best complete trial, or None.
        error: standard error of its value, sqrt(p (1 - p) / n) over the validation images; None where the
            objective is no accuracy.
        ties: complete trials whose value lies within one standard error of the difference to the best, it included.
        importance: share of each hyperparameter by PED-ANOVA, the greatest first; empty with fewer than 4 values.
        inner: Optuna's study.
    """

    record: StudyRecord
    counts: Counts
    trials: list[TrialSummary]
    curves: dict[int, list[EpochRow]]
    best: TrialSummary | None
    error: float | None
    ties: int
    importance: dict[str, float]
    spent: Spent
    retrained: Retrained | None
    inner: optuna.Study

    @property
    def accuracy(self) -> float | None:
        """Validation accuracy of the best trial's best epoch, whatever the objective."""
        if self.record.objective == "val_accuracy":
            return None if self.best is None else self.best.value
        return None if self.best_row is None else self.best_row.val_accuracy

    @property
    def accuracy_error(self) -> float | None:
        """Its standard error, sqrt(p (1 - p) / n)."""
        return standard_error(self.accuracy, self.record.split.counts.get("val", 0))

    @property
    def varied(self) -> list[str]:
        """Hyperparameters that differ between complete trials, as Optuna names them, the most important first."""
        seen: dict[str, set[object]] = {}
        for trial in self.inner.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
            for name, value in trial.params.items():
                seen.setdefault(name, set()).add(value)
        return sorted(
            (name for name, values in seen.items() if len(values) > 1),
            key=lambda name: -self.importance.get(name, 0.0),
        )

    @property
    def by_hand(self) -> list[ByHand]:
        """The experiments of its family that were done by hand; none beside a search on drawn faces."""
        if self.record.data_source == "demo":
            return []
        return [one for one in BY_HAND if one.family == self.record.family]

    @property
    def best_by_hand(self) -> ByHand | None:
        """The one among them with the highest validation accuracy that was recorded."""
        recorded = [one for one in self.by_hand if one.val is not None]
        return max(recorded, key=lambda one: one.val or 0, default=None)

    @property
    def tested_by_hand(self) -> float | None:
        """The highest test accuracy of its family by hand, in per cent."""
        return max((one.test for one in self.by_hand if one.test is not None), default=None)

    @property
    def best_row(self) -> EpochRow | None:
        """The best trial's best epoch."""
        if self.best is None:
            return None
        rows = self.curves.get(self.best.number, [])
        return next((row for row in rows if row.epoch == self.best.best_epoch), None)


def read_study(store: Store, study: str) -> StudyReport:
    """Reads one study.

    Raises:
        StudyError: there is none of that name.
    """
    record = store.studies.get(study)
    found = trials(store, study, states=("complete", "pruned", "failed"))
    by_job = store.epochs.curves(study)
    curves = {trial.number: by_job[trial.job] for trial in found if trial.job in by_job}
    best = next(iter(ranking(store, study)), None)
    error = _error(record, best)
    stored = optuna.load_study(study_name=study, storage=optuna_storage(store))
    return StudyReport(
        record=record,
        counts=count(stored.get_trials(deepcopy=False), is_run(store, study)),
        trials=found,
        curves=curves,
        best=best,
        error=error,
        ties=_ties(found, best, error),
        importance=_importance(stored, found),
        spent=_spent(found, curves, int(record.sweep_json["epochs"])),
        retrained=_retrained(store, record),
        inner=stored,
    )


def read_audit(store: Store, record: StudyRecord) -> Audit | None:
    """What the study's faces are like, from the cache; None if they are gone."""
    data = record.data_ref(store.root)
    try:
        stored = cache.read(data.cache, data.signature)
        faces = Dataset.of(
            stored.images, stored.labels, stored.usage, classes=stored.spec.classes, source=record.data_source
        )
        return audit(faces, Settings(store.root, store.url))
    except DataError:
        return None


def _error(record: StudyRecord, best: TrialSummary | None) -> float | None:
    if best is None or record.objective != "val_accuracy":
        return None
    return standard_error(best.value, record.split.counts.get("val", 0))


def _ties(found: Sequence[TrialSummary], best: TrialSummary | None, error: float | None) -> int:
    if best is None or best.value is None:
        return 0
    margin = math.sqrt(2) * (error or 0.0)
    values = [trial.value for trial in found if trial.state == "complete" and trial.value is not None]
    return sum(value >= best.value - margin for value in values)


def _importance(study: optuna.Study, found: Sequence[TrialSummary]) -> dict[str, float]:
    values = {trial.value for trial in found if trial.state == "complete"}
    if len(values) < 4:
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few trials in a branch: the reader sees how many trials there are
            return dict(optuna.importance.get_param_importances(study))
    except (ValueError, RuntimeError):  # nothing was searched, or nothing varied
        return {}


def _spent(found: Sequence[TrialSummary], curves: dict[int, list[EpochRow]], planned: int) -> Spent:
    seconds = saved = gpu = 0.0
    epochs = 0
    for trial in found:
        rows = curves.get(trial.number, [])
        took = sum(row.seconds for row in rows)
        seconds += took
        gpu += took if str(trial.attrs.get("device", "")).startswith("cuda") else 0.0
        epochs += len(rows)
        if by_pruner(trial.state, str(trial.attrs.get(REASON, ""))) and rows:
            saved += max(0, planned - rows[-1].epoch) * took / len(rows)
    times = sorted((trial.started, trial.ended) for trial in found if trial.started and trial.ended)
    return Spent(seconds, epochs, planned * len(found), saved, gpu, _covered(times))


def _covered(times: Sequence[tuple[datetime, datetime]]) -> float:
    """Seconds in at least one of the spans, which come by their beginnings."""
    seconds, until = 0.0, None
    for start, end in times:
        if until is None or end > until:
            seconds += (end - (start if until is None else max(start, until))).total_seconds()
            until = end
    return seconds


def _retrained(store: Store, record: StudyRecord) -> Retrained | None:
    """The latest final fit whose files are still there."""
    finals = {job.uid for job in store.jobs.of(record.name, "final")}
    recorded = [file for file in store.artifacts.of(record.name) if file.job in finals]
    latest = next((file.job for file in reversed(recorded) if file.kind == "metrics"), None)
    files: dict[str, ArtifactRecord] = {file.kind: file for file in recorded if file.job == latest}
    try:
        metrics, confusion = (
            json.loads(store.artifacts.path(files[kind]).read_text("utf-8")) for kind in ("metrics", "confusion")
        )
    except (KeyError, OSError, ValueError):
        return None
    predictions = files.get("predictions")
    mistakes = worst(store.artifacts.path(predictions), record.data_ref(store.root)) if predictions else []
    return Retrained(metrics, confusion["plain"], mistakes)
