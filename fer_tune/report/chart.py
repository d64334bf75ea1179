"""Charts as SVG, written without a plotting library.

A run draws them between two trials, where the second that a plotting library takes to load would stand idle on
every worker; in a report they take the page's ink, and so read the same on light and dark, and each point says
what it is when pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal

BLUE, AMBER, RED = "#3b82c4", "#c98a1b", "#c0504d"
"""Readable on light and on dark, and told apart by any eye."""

Point = tuple[float, float]
Range = tuple[float, float]

LEFT, RIGHT, TOP, BOTTOM = 46, 12, 24, 40
"""Room for labels around what is plotted, in px."""


class Chart:
    """A rectangle with two axes into which lines and marks are put, in the data's units.

    Args:
        width, height: of the whole, in px.
        x, y: what the axes span; values outside are drawn at the border.
        x_title, y_title: what they mean.
        whole: whether the x axis counts, so that its ticks are integers.
    """

    def __init__(
        self, width: float, height: float, *, x: Range, y: Range, x_title: str, y_title: str, whole: bool = True
    ) -> None:
        self.width, self.height = width, height
        self._x, self._y = _wide(x), _wide(y)
        self._body: list[str] = []
        self._keys: list[str] = []
        self._axes(x_title, y_title, whole)

    def place(self, point: Point) -> Point:
        """Where a point lies, in px from the upper left corner."""
        (x, y), (x0, x1), (y0, y1) = point, self._x, self._y
        x, y = min(max(x, x0), x1), min(max(y, y0), y1)
        across, down = self.width - LEFT - RIGHT, self.height - TOP - BOTTOM
        return LEFT + across * (x - x0) / (x1 - x0), TOP + down * (y1 - y) / (y1 - y0)

    def line(
        self,
        points: Iterable[Point],
        colour: str,
        *,
        width: float = 1.5,
        dashes: str = "",
        opacity: float = 1,
        says: str = "",
    ) -> None:
        """Joins the points that are finite; the rest leave a gap."""
        runs: list[list[Point]] = [[]]
        for point in points:
            if all(map(math.isfinite, point)):
                runs[-1].append(self.place(point))
            elif runs[-1]:
                runs.append([])
        path = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in run) for run in runs if run)
        if len(runs) == 1 and len(runs[0]) == 1:  # one point: a line has no length there
            self.marks([(*next(iter(points)), says)] if isinstance(points, Sequence) else [], colour)
            return
        if path:
            extra = f' stroke-dasharray="{dashes}"' if dashes else ""
            extra += f' opacity="{opacity:g}"' if opacity < 1 else ""
            self._body.append(
                f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"{extra}>{_title(says)}</path>'
            )

    def marks(
        self, points: Iterable[tuple[float, float, str]], colour: str, shape: Literal["dot", "cross"] = "dot"
    ) -> None:
        """A mark at each finite point, which says its text when pointed at."""
        attributes = f'fill="{colour}"' if shape == "dot" else f'fill="none" stroke="{colour}" stroke-width="1.6"'
        parts = []
        for x, y, says in points:
            if math.isfinite(x) and math.isfinite(y):
                px, py = self.place((x, y))
                parts.append(_mark(px, py, shape, says))
        if parts:
            self._body.append(f"<g {attributes}>{''.join(parts)}</g>")

    def key(self, name: str, colour: str, shape: Literal["dot", "cross", "line", "dashes"] = "dot") -> None:
        """An entry of the legend, above the plot."""
        x = LEFT + 6 + sum(34 + 6.6 * len(known) for known in self._keys)
        self._keys.append(name)
        if shape in ("line", "dashes"):
            dashes = ' stroke-dasharray="4 3"' if shape == "dashes" else ""
            mark = f'<path d="M{x - 5:.1f} 8H{x + 11:.1f}" stroke="{colour}" stroke-width="2"{dashes}/>'
        else:
            fill = f'fill="{colour}"' if shape == "dot" else f'fill="none" stroke="{colour}" stroke-width="1.6"'
            mark = f"<g {fill}>{_mark(x + 3, 8, 'dot' if shape == 'dot' else 'cross', '')}</g>"
        self._body.append(mark + text(x + 16, 12, name))

    def draw(self) -> str:
        """What was put in, as the content of an SVG element."""
        return "".join(self._body)

    def _axes(self, x_title: str, y_title: str, whole: bool) -> None:
        left, right, top, bottom = LEFT, self.width - RIGHT, TOP, self.height - BOTTOM
        parts = []
        for tick in ticks(*self._y, 5):
            _, y = self.place((self._x[0], tick))
            parts.append(f'<path d="M{left} {y:.1f}H{right:g}" stroke="currentColor" opacity=".15"/>')
            parts.append(text(left - 7, y + 4, _short(tick), "end"))
        for tick in ticks(*self._x, 7, whole):
            x, _ = self.place((tick, self._y[0]))
            parts.append(text(x, bottom + 17, _short(tick), "middle"))
        parts.append(f'<path d="M{left} {bottom:g}H{right:g}" stroke="currentColor" opacity=".45"/>')
        parts.append(text((left + right) / 2, self.height - 6, x_title, "middle"))
        middle = (top + bottom) / 2
        parts.append(
            f'<text transform="translate(12 {middle:.1f}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>'
        )
        self._body.append("".join(parts))


def svg(width: float, height: float, *contents: str, picture: bool = False, label: str = "") -> str:
    """An SVG element around contents.

    Args:
        picture: whether it stands alone as a file, in ink and on paper of its own, or on a page whose ink it takes.
        label: what it shows, for those who do not see it.
    """
    style = 'font-family="system-ui, sans-serif" font-size="12" fill="currentColor"'
    size = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
    paper = ""
    if picture:
        size += f' width="{width:g}" height="{height:g}" color="#1d2125"'
        paper = f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>'
    return f'<svg {size} {style} role="img" aria-label="{escape(label)}">{paper}{"".join(contents)}</svg>'


def text(x: float, y: float, says: str, anchor: str = "start", more: str = "") -> str:
    """A line of text.

    Args:
        anchor: what of it lies at `x`: its `start`, `middle` or `end`.
        more: attributes, as SVG writes them.
    """
    anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.4g}" y="{y:.4g}"{anchored}{" " + more if more else ""}>{escape(says)}</text>'


def at(x: float, y: float, content: str) -> str:
    """Content, moved."""
    return f'<g transform="translate({x:g} {y:g})">{content}</g>'


def span(values: Iterable[float], room: float = 0.04) -> Range:
    """Least and greatest of the finite values, with some room; (0, 1) if there is none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    more = (max(finite) - min(finite)) * room
    return min(finite) - more, max(finite) + more


def ticks(low: float, high: float, count: int, whole: bool = False) -> list[float]:
    """Round numbers between `low` and `high`, about `count` of them: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10) if rough <= power * nice * 1.4)
    step = max(1.0, step) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [step * place for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _wide(span: Range) -> Range:
    """The range, widened where it has no extent."""
    low, high = span
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _short(value: float) -> str:
    return f"{value:.6g}" if value else "0"


def _title(says: str) -> str:
    return f"<title>{escape(says)}</title>" if says else ""


def _mark(x: float, y: float, shape: Literal["dot", "cross"], says: str) -> str:
    if shape == "dot":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2">{_title(says)}</circle>'
    return f'<path d="M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6">{_title(says)}</path>'
