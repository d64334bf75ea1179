"""What a report says about one study, read from the database and the files of its final fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fer_tune.data import cache
from fer_tune.data.audit import Audit, audit
from fer_tune.data.dataset import Dataset
from fer_tune.data.fer2013 import BY_HAND, ByHand, is_fer2013
from fer_tune.errors import DataError
from fer_tune.job import EpochRow
from fer_tune.report.cost import Cost, cost
from fer_tune.report.final_fit import ReportedFit, read_final_fit
from fer_tune.report.importance import importance
from fer_tune.selection.race import Place
from fer_tune.selection.statistics import standard_error
from fer_tune.settings import Settings
from fer_tune.store import Store, StudyRecord
from fer_tune.study import Counts, TrialSummary, counts, trials
from fer_tune.study.attempt_spans import attempt_spans
from fer_tune.study.baseline import Gain, gain
from fer_tune.study.standings import Standings, standings
from fer_tune.sweep.space import name_of

TOP = 5
"""How many of the best trials a report shows."""


@dataclass(frozen=True)
class StudyReport:
    """What a report says about one study.

    Attributes:
        trials: those that ended or are paused, by number.
        curves: the epochs of each trial, by number.
        top: the best complete trials, the best first; by their confirmations if there are any.
        standings: how sure the order of the best trials is.
        importance: the share of each hyperparameter, the greatest first; empty with too few trials.
        uncertainty: the standard deviation of each share over resampled trials.
        compared: how many trials the importance compares, or would compare if they were enough.
        gain: what the best trial gained over the best of `start:`; None if that is unknown.
        is_fer2013: whether the images are FER2013's. False if they are no longer in the cache.
    """

    record: StudyRecord
    counts: Counts
    trials: list[TrialSummary]
    curves: dict[int, list[EpochRow]]
    top: list[TrialSummary]
    standings: Standings
    importance: dict[str, float]
    uncertainty: dict[str, float]
    compared: int
    cost: Cost
    final_fit: ReportedFit | None
    gain: Gain | None
    is_fer2013: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.record.data_spec.classes

    @property
    def best(self) -> TrialSummary | None:
        """The best complete trial."""
        return self.top[0] if self.top else None

    @property
    def best_start(self) -> TrialSummary | None:
        """The best complete trial that came from the sweep's `start:` configurations."""
        return _best(trial for trial in self.trials if trial.name is not None)

    @property
    def baseline(self) -> float | None:
        """The value of the best complete start configuration, beside which others are seen."""
        return None if self.best_start is None else self.best_start.value

    @property
    def best_sampled(self) -> TrialSummary | None:
        """The best complete trial that the sampler proposed."""
        return _best(trial for trial in self.trials if trial.name is None)

    @property
    def value(self) -> float | None:
        """The value of the best trial: its mean under new seeds, or what the search measured."""
        return self.confirmed.mean if self.confirmed else None if self.best is None else self.best.value

    @property
    def error(self) -> float | None:
        """The standard error of that value; None if it is unknown, as for a value that the search
        measured of another objective than the accuracy."""
        if self.confirmed:
            return self.confirmed.error
        if self.best is None or self.record.objective != "val_accuracy":
            return None
        return standard_error(self.best.value, self.record.split.counts.get("val", 0))

    @property
    def ties(self) -> list[TrialSummary]:
        """The other compared trials that cannot be told from the best, by number."""
        best = None if self.best is None else self.best.number
        found = [one.trial for one in self.standings.ties if one.trial.number != best]
        return sorted(found, key=lambda trial: trial.number)

    @property
    def confirmed(self) -> Place | None:
        """What new seeds of the best trial showed, or None without confirmations."""
        return self.standings.ranked[0].confirmed if self.standings.ranked else None

    @property
    def basis(self) -> str:
        """What the value is, if it is not the one that the search measured."""
        if self.confirmed is None or self.best is None:
            return ""
        seeds, searched = len(self.confirmed.values), 100 * (self.best.value or 0.0)
        return f"under {seeds} new seed{'s' if seeds > 1 else ''}; the search measured {searched:.2f} %"

    @property
    def best_row(self) -> EpochRow | None:
        """The best epoch of the best trial."""
        return self._best_row_of(self.best)

    @property
    def accuracy(self) -> float | None:
        """The validation accuracy of the best trial, whatever the objective: its mean under new
        seeds, or that of its best epoch."""
        confirmed = self.confirmed if self.record.objective == "val_accuracy" else None
        return confirmed.mean if confirmed else self._accuracy_of(self.best)

    @property
    def baseline_accuracy(self) -> float | None:
        """The validation accuracy of the best start configuration, whatever the objective."""
        return self._accuracy_of(self.best_start)

    def _best_row_of(self, trial: TrialSummary | None) -> EpochRow | None:
        rows = [] if trial is None else self.curves.get(trial.number, [])
        return next((row for row in rows if trial is not None and row.epoch == trial.best_epoch), None)

    def _accuracy_of(self, trial: TrialSummary | None) -> float | None:
        if self.record.objective == "val_accuracy":
            return None if trial is None else trial.value
        row = self._best_row_of(trial)
        return None if row is None else row.val_accuracy

    @property
    def accuracy_error(self) -> float | None:
        """The standard error of the accuracy."""
        if self.confirmed and self.record.objective == "val_accuracy":
            return self.confirmed.error
        return standard_error(self.accuracy, self.record.split.counts.get("val", 0))

    @property
    def ranked(self) -> list[TrialSummary]:
        """All trials: complete ones first, then by value."""
        return sorted(self.trials, key=lambda trial: (trial.state != "complete", -(trial.value or 0.0), trial.number))

    @property
    def searched(self) -> list[str]:
        """The hyperparameters that differ between any trials, the most important first."""
        return self._differ(self.trials)

    @property
    def varied(self) -> list[str]:
        """The hyperparameters that differ between complete trials, the most important first."""
        return self._differ(trial for trial in self.trials if trial.state == "complete")

    def _differ(self, trials: Iterable[TrialSummary]) -> list[str]:
        seen: dict[str, set[object]] = {}
        for trial in trials:
            for name, value in trial.params.items():
                seen.setdefault(name, set()).add(value)
        names = [name for name, values in seen.items() if len(values) > 1]
        return sorted(names, key=lambda name: -self.importance.get(name, 0.0))

    def drawn_from(self, name: str, kind: str) -> bool:
        """Returns whether the sweep file has the word `kind` for a hyperparameter.

        Args:
            kind: `log` or `choices`.
        """
        space = self.record.sweep_json.get("space", {})
        return any(
            isinstance(entry, dict) and bool(entry.get(kind)) for key, entry in space.items() if name_of(key) == name
        )

    @property
    def by_hand(self) -> list[ByHand]:
        """The experiments by hand with its family on FER2013; none for other images."""
        return [one for one in BY_HAND if self.is_fer2013 and one.family == self.record.family]

    @property
    def best_by_hand(self) -> ByHand | None:
        """The experiment by hand with the highest recorded validation accuracy."""
        recorded = [one for one in self.by_hand if one.val is not None and not one.about]
        return max(recorded, key=lambda one: one.val or 0.0, default=None)

    @property
    def test_by_hand(self) -> float | None:
        """The highest test accuracy of its family by hand, in per cent."""
        return max((one.test for one in self.by_hand if one.test is not None), default=None)

    @property
    def repeat(self) -> str:
        """The command that repeats the final fit, or that makes the first one."""
        if self.final_fit is None:
            return f"fer-tune retrain --study {self.record.name}"
        number = self.final_fit.metrics["trial"]
        trial = next((trial.params for trial in self.trials if trial.number == number), {})
        return self.final_fit.command(self.record.name, trial, int(self.record.sweep_json["seed"]))


def read_study(store: Store, study: str) -> StudyReport:
    """Reads one study.

    Raises:
        StudyError: there is no study of that name.
    """
    record = store.studies.get(study)
    found = trials(store, study, states=("complete", "pruned", "paused", "failed"))
    by_job = store.epochs.curves(study)
    curves = {trial.number: by_job[trial.job] for trial in found if trial.job in by_job}
    shares, uncertainty, compared = importance(store, study)
    order = standings(store, study)
    jobs = {trial.job for trial in found}
    spans = [span for span in attempt_spans(store, study) if span.job in jobs]
    return StudyReport(
        record=record,
        counts=counts(store, study),
        trials=found,
        curves=curves,
        top=[one.trial for one in order.ranked[:TOP]],
        standings=order,
        importance=shares,
        uncertainty=uncertainty,
        compared=compared,
        cost=cost(found, curves, int(record.sweep_json["epochs"]), spans),
        final_fit=read_final_fit(store, record, order.ranked[0].trial.number if order.ranked else None),
        gain=gain(store, study, order.ranked[0].trial.number) if order.ranked else None,
        is_fer2013=_is_fer2013(store, record),
    )


def read_audit(store: Store, record: StudyRecord) -> Audit | None:
    """Returns the audit of the study's images, or None if they are no longer in the cache."""
    data = record.data_ref(store.root)
    try:
        stored = cache.read(data.cache, data.signature)
        images = Dataset.of(
            stored.images, stored.labels, stored.usage, classes=stored.spec.classes, source=record.data_source
        )
        return audit(images, Settings(store.root, store.url))
    except DataError:
        return None


def _best(trials: Iterable[TrialSummary]) -> TrialSummary | None:
    complete = (trial for trial in trials if trial.state == "complete")
    return max(complete, key=lambda trial: trial.value or 0.0, default=None)


def _is_fer2013(store: Store, record: StudyRecord) -> bool:
    data = record.data_ref(store.root)
    try:
        stored = cache.read(data.cache, data.signature)
    except DataError:
        return False
    return is_fer2013(np.bincount(stored.labels, minlength=len(stored.spec.classes)).tolist())
