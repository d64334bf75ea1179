"""A report's own figures, as SVG that takes the page's ink; Optuna's are in `optuna_plots`."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from fer_tune.report.chart import AMBER, BLUE, RED, Chart, at, span, svg, text, ticks
from fer_tune.report.study_report import StudyReport
from fer_tune.study import TrialSummary

WIDTH, HEIGHT = 480, 290
ROW, NAMES = 46, 96
"""Height of a family's row and width of its name in the first figure, in px."""

COLOURS = {"complete": BLUE, "pruned": AMBER, "failed": RED}
GREY = "#8a8f98"


def answer(studies: Sequence[StudyReport]) -> str:
    """What was reached, a row for each study, with bars of one standard error; beside it, what was reached by hand."""
    width, height = 720, ROW * len(studies) + 62
    rows = [(study, _reached(study)) for study in studies]
    ends = [value + side * (error or 0.0) for _, marks in rows for value, error, _, _ in marks for side in (-1, 1)]
    low, high = span(ends, 0.05)
    low, high = min(low, high - 10), max(high, low + 1)  # a point is not to look like a world

    def place(value: float) -> float:
        return NAMES + (width - NAMES - 30) * (value - low) / (high - low or 1)

    parts = []
    for tick in ticks(low, high, 7):
        parts.append(f'<path d="M{place(tick):.1f} 26V{height - 36}" stroke="currentColor" opacity=".15"/>')
        parts.append(text(place(tick), height - 20, f"{tick:g}", "middle"))
    parts.append(text((NAMES + width - 30) / 2, height - 4, "accuracy, %", "middle"))
    for number, (study, marks) in enumerate(rows):
        y = 26 + ROW * (number + 0.5)
        parts.append(text(NAMES - 12, y + 4, study.record.name[:14], "end", 'font-weight="600"'))
        parts += [_reached_mark(place, y, mark) for mark in marks]
    legend = (("validation, best trial", BLUE, False), ("test, retrained", AMBER, False), ("by hand", GREY, True))
    x = float(NAMES)
    for name, colour, hollow in legend:
        parts.append(at(x, 10, _dot(0, 0, colour, hollow, "")) + text(x + 10, 14, name))
        x += 44 + 6.4 * len(name)
    return svg(width, height, *parts, label="accuracy reached, by study, beside what was reached by hand")


Reached = tuple[float, float | None, str, str]
"""Per cent, standard error, what it is, and its kind: `val`, `test`, `val by hand` or `test by hand`."""


def _reached(study: StudyReport) -> list[Reached]:
    found: list[Reached] = []
    if study.best_by_hand is not None and study.best_by_hand.val is not None:
        found.append((study.best_by_hand.val, None, "validation, by hand", "val by hand"))
    if study.tested_by_hand is not None:
        found.append((study.tested_by_hand, None, "test, by hand", "test by hand"))
    if study.accuracy is not None:
        found.append((100 * study.accuracy, 100 * (study.accuracy_error or 0), "validation, best trial", "val"))
    if study.retrained is not None:
        plain = study.retrained.metrics["test"]["plain"]
        error = 100 * float(plain["accuracy_standard_error"])
        found.append((100 * float(plain["accuracy"]), error, "test, retrained", "test"))
    return found


def _reached_mark(place: object, y: float, mark: Reached) -> str:
    assert callable(place)
    value, error, what, kind = mark
    colour = GREY if "hand" in kind else {"val": BLUE, "test": AMBER}[kind]
    y += -7 if kind.startswith("val") else 7
    bar = ""
    if error:
        ends = f"M{place(value - error):.1f} {y:.1f}H{place(value + error):.1f}"
        bar = f'<path d="{ends}" stroke="{colour}" stroke-width="2.5" opacity=".6"/>'
    says = f"{what}: {value:.2f} %" + (f" ± {error:.2f}" if error else "")
    return bar + _dot(place(value), y, colour, "hand" in kind, says)


def _dot(x: float, y: float, colour: str, hollow: bool, says: str) -> str:
    fill = f'fill="none" stroke="{colour}" stroke-width="2"' if hollow else f'fill="{colour}"'
    title = f"<title>{says}</title>" if says else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {fill}>{title}</circle>'


def history(study: StudyReport) -> str:
    """Values in the order of the trials, and the best so far."""
    values = [100 * trial.value for trial in study.trials if trial.value is not None]
    last = max((trial.number for trial in study.trials), default=0)
    chart = Chart(
        WIDTH, HEIGHT, x=(0, max(1, last)), y=span(values), x_title="trial", y_title=f"{study.record.objective}, %"
    )
    floor = span(values)[0]
    for state in ("failed", "pruned", "complete"):
        some = [trial for trial in study.trials if trial.state == state]
        heights = [(trial, floor if trial.value is None else 100 * trial.value) for trial in some]
        shape = "dot" if state == "complete" else "cross"
        chart.marks([(trial.number, y, _says(trial)) for trial, y in heights], COLOURS[state], shape)  # type: ignore[arg-type]
    best, steps = float("-inf"), list[tuple[float, float]]()
    for trial in study.trials:
        if trial.state == "complete" and trial.value is not None and 100 * trial.value > best:
            if steps:
                steps.append((trial.number, best))
            best = 100 * trial.value
            steps.append((trial.number, best))
    if steps:
        chart.line([*steps, (last, best)], BLUE, opacity=0.7, says="best so far")
    for state, count in (
        ("complete", study.counts.complete),
        ("pruned", study.counts.pruned),
        ("failed", study.counts.failed),
    ):
        if count:
            chart.key(f"{count} {state}", COLOURS[state], "dot" if state == "complete" else "cross")
    return svg(WIDTH, HEIGHT, chart.draw(), label=f"values of the trials of {study.record.name} in order")


def curves(study: StudyReport) -> str:
    """The objective by epoch; the colour says how the trial ended."""
    objective = study.record.objective
    found = {
        trial.number: [(row.epoch, 100 * float(getattr(row, objective))) for row in study.curves.get(trial.number, [])]
        for trial in study.trials
    }
    longest = max((len(points) for points in found.values()), default=1)
    values = [value for points in found.values() for _, value in points]
    if not values:
        return ""
    chart = Chart(WIDTH, HEIGHT, x=(1, max(2, longest)), y=span(values), x_title="epoch", y_title=f"{objective}, %")
    opacity = 0.9 if len(found) < 20 else 0.45
    for trial in sorted(study.trials, key=lambda trial: (trial.state == "complete", trial.state == "pruned")):
        best = study.best is not None and trial.number == study.best.number
        chart.line(
            found[trial.number],
            COLOURS[trial.state],
            width=2.5 if best else 1.2,
            opacity=1 if best else opacity,
            says=_says(trial),
        )
    for state, name in (("complete", "survived"), ("pruned", "pruned"), ("failed", "failed")):
        if any(trial.state == state and found[trial.number] for trial in study.trials):
            chart.key(name, COLOURS[state], "line")
    return svg(WIDTH, HEIGHT, chart.draw(), label=f"learning curves of the trials of {study.record.name}")


def _says(trial: TrialSummary) -> str:
    value = "" if trial.value is None or not isfinite(trial.value) else f" at {trial.value:.2%}"
    name = f" ({trial.name})" if trial.name else ""
    return f"trial {trial.number}{name}: {trial.state}{value} after {trial.epochs} epochs"
