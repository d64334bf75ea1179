"""What each study reached, as marks on a common scale of accuracy, beside the results by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fer_tune.report.axes import Linear
from fer_tune.report.study_report import StudyReport

KINDS = {
    "val": "validation, best trial",
    "test": "test, final fit",
    "val hand": "validation, by hand",
    "test hand": "test, by hand",
}
"""The kinds of marks, by their classes in the page's style sheet."""

NARROWEST = 10.0
"""The smallest range of the scale, in points, so that a small difference looks small."""


@dataclass(frozen=True)
class Mark:
    """One accuracy, in per cent, with its standard error."""

    kind: str
    value: float
    error: float = 0.0

    @property
    def tooltip(self) -> str:
        """The accuracy in words."""
        error = f" ± {self.error:.2f}" if self.error else ""
        return f"{KINDS[self.kind]}: {self.value:.2f}{error} %"


@dataclass(frozen=True)
class Overview:
    """The marks of each study by its name, and their scale. Places are per cent of the width.

    Attributes:
        baselines: the accuracy of the best start configuration, by the study's name.
    """

    scale: Linear
    rows: dict[str, list[Mark]]
    baselines: dict[str, float]

    @property
    def kinds(self) -> dict[str, str]:
        """The kinds of marks that there are, for the legend."""
        found = {mark.kind for marks in self.rows.values() for mark in marks}
        return {kind: name for kind, name in KINDS.items() if kind in found}

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places in per cent, and labels."""
        return [(100 * place, label) for place, label in self.scale.ticks(5)]

    def place(self, value: float) -> float:
        """Returns where an accuracy is, in per cent of the width."""
        return 100 * self.scale.place(value)


def overview(studies: Sequence[StudyReport]) -> Overview:
    """Returns the marks of the studies that have an accuracy."""
    rows = {study.record.name: _marks(study) for study in studies if study.accuracy is not None}
    known = {study.record.name: study.baseline_accuracy for study in studies}
    baselines = {name: 100 * accuracy for name, accuracy in known.items() if accuracy is not None and name in rows}
    ends = [mark.value + side * mark.error for marks in rows.values() for mark in marks for side in (-1, 1)]
    scale = Linear.over([*ends, *baselines.values()], margin=0.05)
    return Overview(Linear(min(scale.low, scale.high - NARROWEST), scale.high), rows, baselines)


def _marks(study: StudyReport) -> list[Mark]:
    marks = [Mark("val", 100 * (study.accuracy or 0.0), 100 * (study.accuracy_error or 0.0))]
    if study.final_fit is not None:
        plain = study.final_fit.metrics["test"]["plain"]
        marks.append(Mark("test", 100 * plain["accuracy"], 100 * plain["accuracy_standard_error"]))
    if study.best_by_hand is not None and study.best_by_hand.val is not None:
        marks.append(Mark("val hand", study.best_by_hand.val))
    if study.test_by_hand is not None:
        marks.append(Mark("test hand", study.test_by_hand))
    return marks
