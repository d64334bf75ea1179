"""The figures of one study as SVG.

A colour says how a trial ended, in every figure. The dashed line is the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fer_tune.report.axes import Axis, Linear, axis_of
from fer_tune.report.chart import Chart
from fer_tune.report.study_report import StudyReport
from fer_tune.report.svg import AMBER, BLUE, GREY, RED, Shape, of_trial, path, svg, text
from fer_tune.study import TrialSummary

WIDTH, HEIGHT = 400, 270
"""Of history and curves, in px. It is about the width of a phone, where text stays readable."""

COLOURS = {"complete": BLUE, "pruned": AMBER, "paused": GREY, "failed": RED}

SLICES, AXES = 10, 8
"""The largest numbers of hyperparameters that are drawn as slices, and as parallel axes."""


def history(study: StudyReport) -> str:
    """Returns the values in the order of the trials, and the best value so far."""
    if not study.trials:
        return ""
    values = Linear.over([*map(_percent, study.trials), *_levels(study)])
    last = max(1, *(trial.number for trial in study.trials))
    title = f"{study.record.objective}, %"
    chart = Chart(WIDTH, HEIGHT, Linear(0, last, whole=True), values, x_title="trial", y_title=title)
    for state in ("failed", "paused", "pruned", "complete"):
        some = [trial for trial in study.trials if trial.state == state]
        shape: Shape = "dot" if state == "complete" else "cross"
        chart.marks(
            [
                (one.number, values.low if one.value is None else _percent(one), _tooltip(one), one.number)
                for one in some
            ],
            COLOURS[state],
            shape,
        )
    _draw_baseline(chart, study, "best of start")
    if steps := _best_so_far(study.trials):
        chart.line([*steps, (last, steps[-1][1])], BLUE, opacity=0.7, tooltip="best so far")
    for state, colour in COLOURS.items():
        if count := getattr(study.counts, state):
            chart.key(f"{count} {state}", colour, "dot" if state == "complete" else "cross")
    return svg(WIDTH, HEIGHT, chart.draw(), label=f"values of the trials of {study.record.name} in order")


def curves(study: StudyReport) -> str:
    """Returns the objective by epoch, a line for each trial, the best trial's in bold."""
    objective = study.record.objective
    found = {
        trial.number: [(row.epoch, 100 * float(getattr(row, objective))) for row in study.curves.get(trial.number, [])]
        for trial in study.trials
    }
    if not any(found.values()):
        return ""
    epochs = Linear(1, max(2, *map(len, found.values())), whole=True)
    values = Linear.over([*(value for points in found.values() for _, value in points), *_levels(study)])
    chart = Chart(WIDTH, HEIGHT, epochs, values, x_title="epoch", y_title=f"{objective}, %")
    opacity = 0.9 if len(found) < 20 else 0.45
    for trial in sorted(study.trials, key=lambda trial: (trial.state == "complete", trial.state == "pruned")):
        best = study.best is not None and trial.number == study.best.number
        chart.line(
            found[trial.number],
            COLOURS[trial.state],
            width=2.5 if best else 1.2,
            opacity=1 if best else opacity,
            tooltip=_tooltip(trial),
            trial=trial.number,
        )
    _draw_baseline(chart, study, "best of start")
    for state, colour in COLOURS.items():
        if any(trial.state == state and found[trial.number] for trial in study.trials):
            chart.key(state, colour, "line")
    return svg(WIDTH, HEIGHT, chart.draw(), label=f"learning curves of the trials of {study.record.name}")


def slices(study: StudyReport) -> list[str]:
    """Returns a small chart for each hyperparameter: the values of the complete trials."""
    complete = _complete(study)
    values = Linear.over([*map(_percent, complete), *_levels(study)])
    drawn = []
    for name in study.varied[:SLICES]:
        chart = Chart(200, 160, _axis(study, complete, name), values, x_title=name, ticks=3)
        some = [one for one in complete if name in one.params]
        chart.marks([(one.params[name], _percent(one), _tooltip(one), one.number) for one in some], BLUE)
        _draw_baseline(chart, study)
        drawn.append(svg(200, 160, chart.draw(), label=f"{study.record.objective} by {name}"))
    return drawn


def parallel(study: StudyReport) -> str:
    """Returns a line for each complete trial across the hyperparameters, the best tenth in bold."""
    complete = sorted(_complete(study), key=_percent)
    names = study.varied[:AXES]
    if not complete or not names:
        return ""
    axes: list[Axis] = [Linear.over(map(_percent, complete)), *(_axis(study, complete, name) for name in names)]
    best = complete[-math.ceil(len(complete) / 10) :]
    parts = []
    for trial in complete:
        values = [_percent(trial), *(trial.params.get(name, math.nan) for name in names)]
        data = _across([axis.place(value) for axis, value in zip(axes, values, strict=True)])
        width, more = (2.2, "") if trial in best else (1.0, 'opacity=".3" ')
        parts.append(path(data, BLUE, width, more + of_trial(trial.number), _tooltip(trial)))
    parts += map(_upright, range(len(axes)), axes, [f"{study.record.objective}, %", *names], [len(axes)] * len(axes))
    for level in _levels(study):
        y, more = _height(axes[0].place(level)), 'stroke-dasharray="6 4" opacity=".7"'
        data = f"M{_at_axis(0, 2):.1f} {y:.1f}H{_at_axis(1, len(axes)):.1f}"
        parts.append(path(data, "currentColor", 1.3, more, f"best of start: {level:.2f} %"))
    return svg(960, 330, *parts, label=f"hyperparameters of the complete trials of {study.record.name}")


def _levels(study: StudyReport) -> list[float]:
    """Returns the value of the baseline in per cent, if there is one."""
    return [] if study.baseline is None else [100 * study.baseline]


def _draw_baseline(chart: Chart, study: StudyReport, label: str = "") -> None:
    for level in _levels(study):
        chart.level(level, f"best of start: {level:.2f} %", label)


def _across(places: Sequence[float]) -> str:
    """Returns a path through places on the axes, with gaps for missing hyperparameters."""
    data, joined = "", False
    for number, place in enumerate(places):
        if math.isfinite(place):
            data += f"{'L' if joined else 'M'}{_at_axis(number, len(places)):.1f} {_height(place):.1f}"
        joined = math.isfinite(place)
    return data


def _upright(number: int, axis: Axis, name: str, count: int) -> str:
    """Returns one of the parallel axes with its ticks, and its name at one of two heights."""
    x = _at_axis(number, count)
    side, anchor = (-6, "end") if number == 0 else (6, "start")
    parts = [path(f"M{x:.1f} {_height(1)}V{_height(0)}", "currentColor", 1, 'opacity=".45"')]
    parts += [text(x + side, _height(place) + 4, label, anchor) for place, label in axis.ticks(5)]
    low = number % 2
    parts.append(text(4 if number == 0 else x, 320 if low else 302, name, "start" if number == 0 else "middle"))
    return "".join(parts)


def _at_axis(number: int, count: int) -> float:
    return 40 + 850 / (count - 1) * number


def _height(place: float) -> float:
    return 280 - 264 * place


def _axis(study: StudyReport, trials: Sequence[TrialSummary], name: str) -> Axis:
    values = [trial.params[name] for trial in trials if name in trial.params]
    return axis_of(values, study.drawn_from(name, "log"), study.drawn_from(name, "choices"))


def _complete(study: StudyReport) -> list[TrialSummary]:
    return [trial for trial in study.trials if trial.state == "complete"]


def _best_so_far(trials: Sequence[TrialSummary]) -> list[tuple[int, float]]:
    """Returns the corners of a staircase."""
    steps: list[tuple[int, float]] = []
    for trial in trials:
        if trial.state == "complete" and (not steps or _percent(trial) > steps[-1][1]):
            if steps:
                steps.append((trial.number, steps[-1][1]))
            steps.append((trial.number, _percent(trial)))
    return steps


def _percent(trial: TrialSummary) -> float:
    return math.nan if trial.value is None else 100 * trial.value


def _tooltip(trial: TrialSummary) -> str:
    value = "" if trial.value is None or not math.isfinite(trial.value) else f" at {100 * trial.value:.2f} %"
    name = f" ({trial.name})" if trial.name else ""
    epochs = "1 epoch" if trial.epochs == 1 else f"{trial.epochs} epochs"
    return f"trial {trial.number}{name}: {trial.state}{value} after {epochs}"
