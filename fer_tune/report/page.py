"""The report as one file: HTML that loads nothing from elsewhere, or Markdown for a README."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from fer_tune.data.audit import Audit
from fer_tune.data.fer2013 import BY_HAND, ByHand
from fer_tune.report import plots
from fer_tune.report.importance import ENOUGH, best_of
from fer_tune.report.overview import overview
from fer_tune.report.study_report import StudyReport, read_audit, read_study
from fer_tune.selection.statistics import error_of_difference
from fer_tune.store import Store

MISSING = "–"

COLUMNS = 12
"""The largest number of hyperparameters in the table of trials: the most important ones."""


@dataclass(frozen=True)
class Plots:
    """The plots of a study, as SVG. Empty where there is nothing to draw."""

    history: str
    curves: str
    slices: list[str]
    parallel: str


@dataclass(frozen=True)
class FamilyStudies:
    """The studies of one family, the best first."""

    name: str
    studies: list[StudyReport]

    def sum(self, measure: str) -> float:
        """Returns the sum of a measure of `Cost` over the studies."""
        return sum(float(getattr(study.cost, measure)) for study in self.studies)


def render(store: Store, studies: Sequence[str], form: Literal["html", "md"] = "html") -> str:
    """Returns the report on `studies`, the study with the highest value first.

    Raises:
        StudyError: a study does not exist.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fer_tune.report"),
        autoescape=form == "html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(best_of=best_of, percent=percent, hours=hours, plain=plain, points=points, count=count)
    found = sorted((read_study(store, name) for name in dict.fromkeys(studies)), key=_value, reverse=True)
    names: dict[str, Any] = {
        "studies": found,
        "families": families(found),
        "answer": answer(found),
        "database": store.shown.rsplit("/", 1)[-1],  # the report may be given to others, who need not know the folder
        "now": datetime.now(UTC),
        "by_hand": best_by_hand() if any(study.is_fer2013 for study in found) else None,
        "enough": ENOUGH,
        "COLUMNS": COLUMNS,
    }
    if form == "html":
        names |= {
            "overview": overview(found),
            "plots": {study.record.name: _plots(study) for study in found},
            "audits": _audits(store, found),
        }
    return environment.get_template(f"report.{form}").render(names).strip() + "\n"


def families(studies: Sequence[StudyReport]) -> list[FamilyStudies]:
    """Returns the studies by family, the best first."""
    found: dict[str, list[StudyReport]] = {}
    for study in studies:
        found.setdefault(study.record.family, []).append(study)
    return [FamilyStudies(name, members) for name, members in found.items()]


def best_by_hand() -> ByHand:
    """Returns the experiment by hand on FER2013 with the highest test accuracy."""
    return max((one for one in BY_HAND if one.test is not None), key=lambda one: one.test or 0.0)


def answer(studies: Sequence[StudyReport]) -> str:
    """Returns which study is best on validation, and what its final fit reached on test."""
    best = next((study for study in studies if study.best is not None), None)
    if best is None or best.best is None:
        return "No trial has completed."
    error = f" ± {percent(best.error)}" if best.error else ""
    name, value, basis = best.record.name, percent(best.value), f" {best.basis}" if best.basis else ""
    sentences = [f"{name} is best on validation: {value}{error} % {best.record.objective}{basis}."]
    if others := [study.record.name for study in studies if _is_near(study, best)]:
        sentences.append(f"Within one standard error of it: {', '.join(others)}.")
    return " ".join([*sentences, *_on_test(best)])


def _on_test(study: StudyReport) -> list[str]:
    fit = study.final_fit
    if fit is None:
        return ["It has no final fit yet."]
    test = fit.metrics["test"]["plain"]
    accuracy = f"{percent(test['accuracy'])} ± {percent(test['accuracy_standard_error'])} %"
    number = fit.metrics["trial"]
    whose = (
        "Its final fit" if study.best is not None and number == study.best.number else f"A fit of its trial {number}"
    )
    trained = f", trained {fit.unusual}," if fit.unusual else ""
    sentences = [f"{whose}{trained} reaches {accuracy} on test."]
    if study.record.data_source == "demo":
        sentences.append("The faces are drawn.")
    elif study.is_fer2013:
        by_hand = best_by_hand().test or 0.0
        more = 100 * test["accuracy"] - by_hand
        side = "above" if more >= 0 else "below"
        sentences.append(f"That is {abs(more):.1f} points {side} the best result by hand ({by_hand:.2f} %).")
    return sentences


def percent(fraction: float | None) -> str:
    """Returns a fraction as a percentage with two decimals, or a dash."""
    return MISSING if fraction is None or math.isnan(fraction) else f"{100 * fraction:.2f}"


def points(value: float | None) -> str:
    """Returns a percentage with two decimals, or a dash."""
    return MISSING if value is None else f"{value:.2f}"


def count(number: float) -> str:
    """Returns a number of things with commas between the thousands."""
    return f"{number:,.0f}"


def hours(seconds: float) -> str:
    """Returns a duration in hours, or in minutes or seconds if it is short."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def plain(value: object) -> str:
    """Returns the value of a hyperparameter."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _value(study: StudyReport) -> float:
    return -1.0 if study.value is None else study.value


def _is_near(study: StudyReport, best: StudyReport) -> bool:
    """Returns whether two studies of one split are within one standard error."""
    error = error_of_difference(study.error, best.error)
    if study is best or error is None or study.record.split.hash != best.record.split.hash:
        return False
    return _value(best) - _value(study) <= error


def _plots(study: StudyReport) -> Plots:
    few = study.counts.complete < 2
    return Plots(
        history=plots.history(study),
        curves=plots.curves(study),
        slices=[] if few else plots.slices(study),
        parallel="" if few else plots.parallel(study),
    )


def _audits(store: Store, studies: Sequence[StudyReport]) -> dict[str, Audit]:
    """Returns the audits by data signature, for images that are still in the cache."""
    found: dict[str, Audit] = {}
    for study in studies:
        signature = study.record.data_signature
        if signature not in found and (audit := read_audit(store, study.record)) is not None:
            found[signature] = audit
    return found
