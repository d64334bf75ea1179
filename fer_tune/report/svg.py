"""SVG elements as text.

The charts are SVG of our own for three reasons. Their ink is the page's, so that one picture reads
on light and on dark. Each mark has a tooltip. A run draws them in a millisecond, without loading a
plotting library.
"""

from __future__ import annotations

from html import escape
from typing import Literal

BLUE, AMBER, RED, GREY = "#3b82c4", "#c98a1b", "#c0504d", "#8a8f98"
"""Complete, pruned, failed and paused trials; see `plots.COLOURS`. Each reads on light and on dark,
and no two look alike to a colour-blind reader."""

VALIDATION, TEST = "#159582", "#8a63c9"
"""What was measured on validation, and on test."""

Shape = Literal["dot", "cross"]


def svg(width: float, height: float, *contents: str, picture: bool = False, label: str = "") -> str:
    """Returns an SVG element around `contents`.

    Args:
        picture: True for a file of its own, with dark ink on white. False for a part of a page,
            with the page's ink.
        label: what it shows, for screen readers.
    """
    style = 'font-family="system-ui, sans-serif" font-size="12" fill="currentColor"'
    size = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
    paper = ""
    if picture:
        size += f' width="{width:g}" height="{height:g}" color="#1d2125"'
        paper = f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>'
    return f'<svg {size} {style} role="img" aria-label="{escape(label)}">{paper}{"".join(contents)}</svg>'


def text(x: float, y: float, content: str, anchor: str = "start", more: str = "") -> str:
    """Returns one line of text.

    Args:
        anchor: which part of the line is at `x`: its `start`, `middle` or `end`.
        more: further attributes, as SVG.
    """
    anchored = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.4g}" y="{y:.4g}"{anchored}{" " + more if more else ""}>{escape(content)}</text>'


def at(x: float, y: float, content: str) -> str:
    """Returns `content` moved by (x, y)."""
    return f'<g transform="translate({x:g} {y:g})">{content}</g>'


def path(data: str, colour: str, width: float = 1.5, more: str = "", tooltip: str = "") -> str:
    """Returns a path without a filling.

    Args:
        data: the path in SVG's notation.
        more: further attributes, as SVG.
    """
    attributes = f'fill="none" stroke="{colour}" stroke-width="{width:g}"{" " + more if more else ""}'
    return f'<path d="{data}" {attributes}>{title(tooltip)}</path>'


def mark(x: float, y: float, colour: str, shape: Shape = "dot", tooltip: str = "", *, more: str = "") -> str:
    """Returns a small dot or cross.

    Args:
        more: further attributes, as SVG.
    """
    if shape == "cross":
        return path(f"M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6", colour, 1.6, more, tooltip)
    attributes = f'r="3.2" fill="{colour}"{" " + more if more else ""}'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" {attributes}>{title(tooltip)}</circle>'


def of_trial(number: int | None) -> str:
    """Returns the attribute by which the page's script finds what belongs to a trial."""
    return "" if number is None else f'data-trial="{number}"'


def title(tooltip: str) -> str:
    """Returns a tooltip for the element around it, or nothing."""
    return f"<title>{escape(tooltip)}</title>" if tooltip else ""
