"""A chart with two axes, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import Any, Literal

from fer_tune.report.axes import Axis, Categories
from fer_tune.report.svg import Shape, mark, of_trial, path, text, title

Point = tuple[Any, Any]
Mark = tuple[Any, Any, str, int | None]
"""A point, its tooltip, and the number of its trial or None."""

RIGHT, BOTTOM = 12, 40
"""Space beside and below the plot, in px."""

LETTER = 6.6
"""Width of a letter, in px, as a mean."""

Key = Literal["dot", "cross", "line", "dashes"]


class Chart:
    """Collects lines and marks, given in the units of the data.

    Args:
        width, height: of the whole chart, in px.
        x, y: the axes.
        x_title, y_title: what the axes show. Without `y_title` the chart is small, and has no space
            for a legend.
        ticks: about how many ticks the x axis gets.
    """

    def __init__(
        self, width: float, height: float, x: Axis, y: Axis, *, x_title: str, y_title: str = "", ticks: int = 7
    ) -> None:
        self.width, self.height = width, height
        self._x, self._y = x, y
        self._left, self._top = (54, 24) if y_title else (30, 8)
        self._right, self._bottom = width - RIGHT, height - BOTTOM
        self._parts = [self._axes(x_title, y_title, ticks)]
        self._next_key = self._left + 6.0

    def line(
        self,
        points: Iterable[Point],
        colour: str,
        *,
        width: float = 1.5,
        dashes: str = "",
        opacity: float = 1,
        tooltip: str = "",
        trial: int | None = None,
    ) -> None:
        """Joins the finite points. Others leave a gap, and a point between gaps becomes a dot.

        Args:
            trial: the number of the trial that the line shows.
        """
        whose = of_trial(trial)
        runs: list[list[Point]] = [[]]
        for point in points:
            x, y = self._place(point)
            if math.isfinite(x) and math.isfinite(y):
                runs[-1].append((x, y))
            elif runs[-1]:
                runs.append([])
        for x, y in (run[0] for run in runs if len(run) == 1):
            self._parts.append(mark(x, y, colour, tooltip=tooltip, more=whose))
        data = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in run) for run in runs if len(run) > 1)
        if data:
            more = f'stroke-dasharray="{dashes}" ' if dashes else ""
            more += f'opacity="{opacity:g}" ' if opacity < 1 else ""
            self._parts.append(path(data, colour, width, (more + whose).strip(), tooltip))

    def marks(self, points: Iterable[Mark], colour: str, shape: Shape = "dot") -> None:
        """Puts a mark at each finite point."""
        for x, y, tooltip, trial in points:
            across, down = self._place((x, y))
            if math.isfinite(across) and math.isfinite(down):
                self._parts.append(mark(across, down, colour, shape, tooltip, more=of_trial(trial)))

    def level(self, value: float, tooltip: str, label: str = "") -> None:
        """Draws a dashed line across the plot at a value of y, with a label above its right end."""
        _, y = self._place((math.nan, value))
        self._parts.append(text(self._right, y - 4, label, "end", 'opacity=".8"') if label else "")
        more = 'stroke-dasharray="6 4" opacity=".7"'
        self._parts.append(path(f"M{self._left} {y:.1f}H{self._right:g}", "currentColor", 1.3, more, tooltip))

    def key(self, name: str, colour: str, shape: Key = "dot") -> None:
        """Adds an entry to the legend above the plot."""
        x = self._next_key
        self._next_key += 34 + LETTER * len(name)
        if shape in ("dot", "cross"):
            self._parts.append(mark(x + 3, 8, colour, "dot" if shape == "dot" else "cross"))
        else:
            more = 'stroke-dasharray="4 3"' if shape == "dashes" else ""
            self._parts.append(path(f"M{x - 5:.1f} 8H{x + 11:.1f}", colour, 2, more))
        self._parts.append(text(x + 16, 12, name))

    def draw(self) -> str:
        """Returns the chart as the content of an SVG element."""
        return "".join(self._parts)

    def _place(self, point: Point) -> tuple[float, float]:
        x, y = self._x.place(point[0]), self._y.place(point[1])
        return self._left + (self._right - self._left) * x, self._bottom - (self._bottom - self._top) * y

    def _axes(self, x_title: str, y_title: str, ticks: int) -> str:
        left, right, top, bottom = self._left, self._right, self._top, self._bottom
        parts = []
        for place, label in self._y.ticks(5):
            y = bottom - (bottom - top) * place
            parts.append(path(f"M{left} {y:.1f}H{right:g}", "currentColor", 1, 'opacity=".15"'))
            parts.append(text(left - 7, y + 4, label, "end"))
        marks = self._x.ticks(ticks)
        room = (right - left) / max(1, len(marks)) if isinstance(self._x, Categories) else math.inf
        for place, label in marks:
            parts.append(_label(left + (right - left) * place, bottom + 17, label, room))
        parts.append(path(f"M{left} {bottom:g}H{right:g}", "currentColor", 1, 'opacity=".45"'))
        parts.append(text((left + right) / 2, self.height - 6, x_title, "middle"))
        if y_title:
            turned = f'transform="translate(12 {(top + bottom) / 2:.1f}) rotate(-90)" text-anchor="middle"'
            parts.append(f"<text {turned}>{escape(y_title)}</text>")
        return "".join(parts)


def _label(x: float, y: float, label: str, room: float) -> str:
    """Returns the name of a category below its place. One without room is cut, with a tooltip."""
    fitting = math.inf if math.isinf(room) else int(room / LETTER)
    if len(label) <= fitting:
        return text(x, y, label, "middle")
    short = text(x, y, f"{label[: max(1, int(fitting) - 1)]}…", "middle")
    return short.replace("</text>", f"{title(label)}</text>")
