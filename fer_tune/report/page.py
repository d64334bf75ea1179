"""The report as one file: HTML that needs no network, or Markdown for a README."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any, Literal

from fer_tune.report import drawing
from fer_tune.report.reading import StudyReport, read_study
from fer_tune.store import Store
from fer_tune.trial import EMOTIONS


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
    environment.filters.update(percent=percent, hours=hours)
    found = sorted((read_study(store, name) for name in dict.fromkeys(studies)), key=_value, reverse=True)
    figures: dict[str, dict[str, str]] = (
        {study.record.name: _figures(study) for study in found} if form == "html" else {}
    )
    names: dict[str, Any] = {"studies": found, "figures": figures, "emotions": EMOTIONS, "shown": store.shown}
    return environment.get_template(f"report.{form}").render(names).strip() + "\n"


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with two digits, or a dash."""
    return "–" if fraction is None or isnan(fraction) else f"{100 * fraction:.2f}"


def hours(seconds: float) -> str:
    """Seconds as hours, or as minutes or seconds where that is more telling."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _value(study: StudyReport) -> float:
    return -1.0 if study.best is None or study.best.value is None else study.best.value


def _figures(study: StudyReport) -> dict[str, str]:
    drawn = {
        "Optimisation history": drawing.history(study),
        "Learning curves": drawing.curves(study),
        "Importance of hyperparameters": drawing.importance(study),
        "Value by hyperparameter": drawing.slices(study),
    }
    return {title: svg for title, svg in drawn.items() if svg}
