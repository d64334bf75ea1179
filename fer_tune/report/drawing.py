"""A report's figures as SVG that takes the page's ink, and so reads the same on light and dark."""

from __future__ import annotations

from io import StringIO
from typing import Any

from fer_tune.report.reading import StudyReport
from fer_tune.trial import Value

INK = "#0a0b0c"
"""Stands for the page's own colour until the SVG is written."""

COLOURS = {"complete": "#3b82c4", "pruned": "#c98a1b", "failed": "#c0504d"}
SLICES = 6
"""Hyperparameters that are shown against the value, the most important first."""


def history(study: StudyReport) -> str:
    """Values in the order of the trials, and the best so far."""
    figure = _figure(1)
    [axes] = figure.axes
    for state in ("pruned", "complete"):
        some = [trial for trial in study.trials if trial.state == state and trial.value is not None]
        axes.plot(
            [trial.number for trial in some],
            [100 * (trial.value or 0) for trial in some],
            "o" if state == "complete" else "x",
            color=COLOURS[state],
            label=state,
            alpha=0.8,
        )
    best, steps = 0.0, []
    for trial in study.trials:
        if trial.state == "complete" and trial.value is not None:
            best = max(best, trial.value)
            steps.append((trial.number, 100 * best))
    if steps:
        axes.step(*zip(*steps, strict=True), where="post", color=COLOURS["complete"], label="best so far")
    axes.set(xlabel="trial", ylabel=f"{study.record.objective}, %")
    return _svg(figure, axes)


def curves(study: StudyReport) -> str:
    """The objective by epoch; the colour says how the trial ended."""
    figure = _figure(1)
    [axes] = figure.axes
    labelled = set()
    for trial in sorted(study.trials, key=lambda trial: trial.state == "complete"):
        rows = study.curves.get(trial.number, [])
        values = [100 * float(getattr(row, study.record.objective)) for row in rows]
        label = None if trial.state in labelled else trial.state
        labelled.add(trial.state)
        colour = COLOURS.get(trial.state, INK)
        axes.plot([row.epoch for row in rows], values, ".-", ms=3, lw=1, color=colour, alpha=0.6, label=label)
    axes.set(xlabel="epoch", ylabel=f"{study.record.objective}, %")
    return _svg(figure, axes)


def importance(study: StudyReport) -> str:
    """Bars, the most important hyperparameter on top; empty text where there is nothing to say."""
    if not study.importance:
        return ""
    figure = _figure(1, height=0.6 + 0.26 * len(study.importance))
    [axes] = figure.axes
    names = list(study.importance)[::-1]
    axes.barh(names, [study.importance[name] for name in names], color=COLOURS["complete"])
    axes.set(xlabel="share of the variance among good trials (PED-ANOVA)")
    return _svg(figure)


def slices(study: StudyReport) -> str:
    """Each of the important hyperparameters against the value of the complete trials."""
    complete = [trial for trial in study.trials if trial.state == "complete" and trial.value is not None]
    varied = {
        name: {trial.params[name] for trial in complete if name in trial.params}
        for name in dict.fromkeys(name for trial in complete for name in trial.params)
    }
    order = {name.partition("[")[0]: -share for name, share in study.importance.items()}
    names = sorted((name for name, values in varied.items() if len(values) > 1), key=lambda name: order.get(name, 0))
    if not names:
        return ""
    names = names[:SLICES]
    rows = -(-len(names) // 3)
    figure = _figure(len(names), columns=min(3, len(names)), height=2.1 * rows)
    for axes, name in zip(figure.axes, names, strict=True):
        points = [(trial.params[name], 100 * (trial.value or 0)) for trial in complete if name in trial.params]
        _slice(axes, name, points)
    return _svg(figure)


def _slice(axes: Any, name: str, points: list[tuple[Value, float]]) -> None:
    numbers = [x for x, _ in points if isinstance(x, int | float) and not isinstance(x, bool)]
    if len(numbers) < len(points):
        points = sorted((str(x), y) for x, y in points)
    elif min(numbers) > 0 and max(numbers) / min(numbers) >= 30:
        axes.set_xscale("log")
    axes.plot([x for x, _ in points], [y for _, y in points], "o", ms=4, color=COLOURS["complete"], alpha=0.7)
    axes.set_xlabel(name)


def _figure(count: int, columns: int = 1, height: float = 3.2) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, height), layout="constrained")
    for place in range(count):
        axes = figure.add_subplot(-(-count // columns), columns, place + 1)
        axes.set_facecolor("none")
        axes.grid(color=INK, alpha=0.15)
        axes.tick_params(colors=INK)
        for line in axes.spines.values():
            line.set_color(INK)
            line.set_alpha(0.4)
    return figure


def _svg(figure: Any, labelled: Any = None) -> str:
    """The figure as an SVG element; text stays text, and ink becomes the page's colour."""
    import matplotlib as mpl

    if labelled is not None and labelled.get_legend_handles_labels()[0]:
        labelled.legend(labelcolor=INK, framealpha=0, fontsize=8)
    for axes in figure.axes:
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
    stream = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "fer-tune", "font.family": "sans-serif"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
