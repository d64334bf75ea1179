"""The report as one file: HTML that needs no network, or Markdown for a README."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from fer_tune.data.audit import Audit
from fer_tune.data.fer2013 import BY_HAND, EMOTIONS
from fer_tune.report import drawing, optuna_plots
from fer_tune.report.study_report import StudyReport, read_audit, read_study
from fer_tune.store import Store

NONE = "–"
BEST_BY_HAND = max((one for one in BY_HAND if one.test), key=lambda one: one.test or 0)
"""The one experiment by hand that was tested best."""


@dataclass(frozen=True)
class Figures:
    """A study's figures as SVG; empty text where there is nothing to draw."""

    history: str
    curves: str
    importance: str
    slices: list[str]
    parallel: str


@dataclass(frozen=True)
class Family:
    """The studies of one family, the best first."""

    name: str
    studies: list[StudyReport]

    def sum(self, measure: str) -> float:
        """A measure of `Spent`, over the studies."""
        return sum(float(getattr(study.spent, measure)) for study in self.studies)


def render(store: Store, studies: Sequence[str], form: Literal["html", "md"] = "html") -> str:
    """Writes the report on `studies`, the one with the highest value first.

    Raises:
        StudyError: there is no study of one of these names.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fer_tune.report"),
        autoescape=form == "html",
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, hours=hours, plain=plain)
    found = sorted((read_study(store, name) for name in dict.fromkeys(studies)), key=_value, reverse=True)
    names: dict[str, Any] = {
        "studies": found,
        "families": families(found),
        "answer": sentence(found),
        "emotions": EMOTIONS,
        "database": store.shown.rsplit("/", 1)[-1],  # a report is handed on: whose folder it was, is nobody's business
        "now": datetime.now(UTC),
        "by_hand": BEST_BY_HAND,
    }
    if form == "html":
        names |= {
            "overview": drawing.answer([study for study in found if study.accuracy is not None]),
            "figures": {study.record.name: _figures(study) for study in found},
            "audits": _audits(store, found),
        }
    return environment.get_template(f"report.{form}").render(names).strip() + "\n"


def families(studies: Sequence[StudyReport]) -> list[Family]:
    """By family, the best first."""
    found: dict[str, list[StudyReport]] = {}
    for study in studies:
        found.setdefault(study.record.family, []).append(study)
    return [Family(name, members) for name, members in found.items()]


def sentence(studies: Sequence[StudyReport]) -> str:
    """What was found, in words: the study with the best validation figure, and what its retrain reached on test."""
    best = next((study for study in studies if study.best is not None), None)
    if best is None or best.best is None:
        return "No trial has completed."
    error = f" ± {percent(best.error)}" if best.error else ""
    said = f"{best.record.name} is best on validation, at {percent(best.best.value)}{error} % {best.record.objective}"
    others = [study.record.name for study in studies if _is_near(study, best)]
    if others:
        said += f"; within chance of it: {', '.join(others)}"
    if best.retrained is None:
        return f"{said}. No model of it has been retrained and tested yet."
    test = best.retrained.metrics["test"]["plain"]
    said += (
        f". Retrained, it reaches {percent(test['accuracy'])} ± {percent(test['accuracy_standard_error'])} % on test"
    )
    if best.record.data_source == "demo":
        return f"{said}, on drawn faces."
    assert BEST_BY_HAND.test is not None
    more = 100 * test["accuracy"] - BEST_BY_HAND.test
    return f"{said}, {abs(more):.1f} points {'above' if more >= 0 else 'below'} the {BEST_BY_HAND.test} % by hand."


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with two digits, or a dash."""
    return NONE if fraction is None or math.isnan(fraction) else f"{100 * fraction:.2f}"


def hours(seconds: float) -> str:
    """Seconds as hours, or as minutes or seconds where that is more telling."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def plain(value: object) -> str:
    """A hyperparameter's value."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _value(study: StudyReport) -> float:
    return -1.0 if study.best is None or study.best.value is None else study.best.value


def _is_near(study: StudyReport, best: StudyReport) -> bool:
    """Whether one standard error of the difference separates the two at most."""
    if study is best or None in (study.error, best.error) or study.record.split.hash != best.record.split.hash:
        return False
    return _value(best) - _value(study) <= math.hypot(study.error or 0.0, best.error or 0.0)


def _figures(study: StudyReport) -> Figures:
    inner, objective, varied = study.inner, study.record.objective, study.varied
    few = study.counts.complete < 2 or not varied
    return Figures(
        history=drawing.history(study) if study.trials else "",
        curves=drawing.curves(study),
        importance=optuna_plots.importance(inner, list(study.importance)) if study.importance else "",
        slices=[] if few else optuna_plots.slices(inner, varied, objective),
        parallel="" if few else optuna_plots.parallel(inner, varied, objective),
    )


def _audits(store: Store, studies: Sequence[StudyReport]) -> dict[str, Audit]:
    """By data signature, where the faces are still in the cache."""
    found: dict[str, Audit] = {}
    for study in studies:
        signature = study.record.data_signature
        if signature not in found and (audit := read_audit(store, study.record)) is not None:
            found[signature] = audit
    return found
