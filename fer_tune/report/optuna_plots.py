"""Optuna's own plots, as SVG in the page's ink: importance, slices, parallel coordinates."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from math import ceil, floor, log10
from typing import Any

import optuna

INK = "#0a0b0c"
"""Stands for the page's own colour until the SVG is written."""

RC: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "fer-tune", "font.family": "sans-serif", "font.size": 9}
"""Text stays text, and the same plot is the same file."""

NOTHING = {"Date": None, "Creator": None}
"""A figure says neither when nor by what it was made: the page does."""

BARS, SLICES, AXES = 14, 10, 8
"""Most hyperparameters that are shown as bars, as slices, and side by side."""


def importance(study: optuna.Study, names: Sequence[str]) -> str:
    """Bars, the most important hyperparameter on top."""
    names = names[:BARS]
    with _drawing() as plots:
        axes = plots.plot_param_importances(study, params=list(names))
        axes.set_xlabel("share of the variance among good trials")
        axes.set_ylabel("")
        if legend := axes.get_legend():
            legend.remove()
        for bar in axes.patches:
            bar.set_facecolor("#3b82c4")
        return _svg(axes.figure, 4.8, 1.0 + 0.27 * len(names))


def slices(study: optuna.Study, names: Sequence[str], objective: str) -> list[str]:
    """A small plot for each hyperparameter: the value of the complete trials, later trials bluer."""
    drawn = []
    for name in names[:SLICES]:
        with _drawing() as plots:
            axes = plots.plot_slice(study, params=[name], target=_per_cent, target_name=f"{objective}, %")
            figure = axes.figure
            for other in figure.axes[1:]:
                other.remove()  # the key to the colours, told once in words
            for points in axes.collections:
                points.set(cmap=_colours(), sizes=[22], edgecolors="none", alpha=0.85)
            axes.set_ylabel("")
            drawn.append(_svg(figure, 2.4, 1.9))
    return drawn


def parallel(study: optuna.Study, names: Sequence[str], objective: str) -> str:
    """A line for each complete trial across the hyperparameters, the best bluest."""
    with _drawing() as plots:
        axes = plots.plot_parallel_coordinate(
            study, params=list(names[:AXES]), target=_per_cent, target_name=f"{objective}, %"
        )
        for lines in axes.collections:
            lines.set(cmap=_colours(), alpha=0.75, linewidth=1.3)
        figure = axes.figure
        key = next((other for other in figure.axes if other.get_label() == "<colorbar>"), None)
        if key is not None:
            key.remove()
        return _svg(figure, 10.2, 4.3)


def _per_cent(trial: optuna.trial.FrozenTrial) -> float:
    assert trial.value is not None
    return 100 * trial.value


def _colours() -> Any:
    """From amber to blue over a grey of the same lightness: seen on light and on dark."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("fer-tune", ["#d0922a", "#9a8f86", "#3b82c4"])


@contextmanager
def _drawing() -> Iterator[Any]:
    """Optuna's plots, drawn without a display; what they change of matplotlib is put back."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as plots

    with mpl.rc_context(RC), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls these plots experimental
        try:
            yield plots
        finally:
            pyplot.close("all")


def _svg(figure: Any, width: float, height: float) -> str:
    """The figure as an SVG element: text stays text, ink becomes the page's colour, titles are the page's."""
    from matplotlib.ticker import FixedLocator, NullLocator

    figure.suptitle("")
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.grid(False)
        axes.tick_params(which="both", colors=INK, labelsize=9)
        for words in (axes.xaxis.label, axes.yaxis.label, *axes.texts):
            words.set(color=INK, size=9)
        for place in ("left", "center", "right"):
            axes.set_title("", loc=place)
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                axis.set_major_locator(FixedLocator(_log_ticks(*axis.get_view_interval())))
                axis.set_major_formatter("{x:g}")
                axis.set_minor_locator(NullLocator())
        axes.patch.set_alpha(0)
        for line in axes.spines.values():
            line.set(color=INK, alpha=0.4)
        for side in ("top", "right") if len(figure.axes) == 1 else ("left",) if axes is not figure.axes[0] else ():
            axes.spines[side].set_visible(False)
        axes.set_position((0.08, 0.08, 0.9, 0.9))  # the whole place, also what a key to the colours had
    figure.set_size_inches(width, height)
    stream = StringIO()
    # Tight, since labels reach beyond that place.
    figure.savefig(stream, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.03, metadata=NOTHING)
    content = stream.getvalue()
    content = re.sub(r' id="[A-Za-z0-9]+_\d+"', "", content[content.index("<svg") :])
    content = re.sub(r">'([^<']*)'</text>", r">\1</text>", content)  # a category as Python writes it
    content = re.sub(r"<metadata>.*?</metadata>", "", content, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", content).replace(INK, "currentColor")


def _log_ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers between `low` and `high`: powers of ten, and parts of them where these are few."""
    for parts in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
        powers = range(floor(log10(low)), ceil(log10(high)) + 1)
        ticks = [part * 10.0**power for power in powers for part in parts if low <= part * 10.0**power <= high]
        if len(ticks) > 1:
            break
    return ticks[:: max(1, -(-len(ticks) // 5))]
