"""Pictures of one trial, as SVG files: its learning curves and its confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fer_tune.report.axes import Linear
from fer_tune.report.chart import Chart
from fer_tune.report.svg import GREY, VALIDATION, at, svg, text

if TYPE_CHECKING:
    from fer_tune.job import EpochRow

WIDTH, HEIGHT, HEAD = 380, 260, 28
SMALL = 'font-size="10" opacity=".8"'

CELL, SIDE = 54, 92
"""The size of a cell of a confusion matrix, and the width of the names beside it, in px."""


def curves_picture(rows: Sequence[EpochRow], title: str, baseline: float | None = None) -> str:
    """Returns learning curves, accuracy beside loss. Training is dashed, validation solid.

    Args:
        rows: by epoch.
        baseline: validation accuracy of the best `start:` configuration, which gets a line.
    """
    accuracy = _panel(rows, "accuracy", "accuracy, %", 100, baseline)
    loss = _panel(rows, "loss", "cross-entropy, nats", 1)
    panels = (at(place * WIDTH, HEAD, panel) for place, panel in enumerate((accuracy, loss)))
    return svg(2 * WIDTH, HEIGHT + HEAD, _heading(title), *panels, picture=True, label=title)


def _panel(rows: Sequence[EpochRow], measure: str, unit: str, scale: float, baseline: float | None = None) -> str:
    train, val = (
        [(row.epoch, scale * float(getattr(row, f"{part}_{measure}"))) for row in rows] for part in ("train", "val")
    )
    epochs = Linear(1, max(2, len(rows)), whole=True)
    levels = [] if baseline is None else [scale * baseline]
    values = Linear.over([*(value for _, value in (*train, *val)), *levels])
    chart = Chart(WIDTH, HEIGHT, epochs, values, x_title="epoch", y_title=unit)
    chart.line(train, GREY, width=2, dashes="5 4")
    chart.line(val, VALIDATION, width=2)
    for level in levels:
        chart.level(level, f"best of start: {level:.2f} %", "best of start")
    chart.key("train", GREY, "dashes")
    chart.key("val", VALIDATION, "line")
    return chart.draw()


def confusion_picture(matrix: Sequence[Sequence[int]], names: Sequence[str], title: str) -> str:
    """Returns a confusion matrix: rows are true classes, columns predicted ones.

    A cell shows the share of its row, in per cent and as the strength of its colour. The count is
    below it.

    Args:
        matrix: counts [C, C].
        names: the C class names.
    """
    cells, top = [], HEAD + 20
    for i, row in enumerate(matrix):
        total, y = sum(row), top + i * CELL
        cells.append(text(SIDE - 8, y + 26, names[i], "end") + text(SIDE - 8, y + 40, f"{total:,}", "end", SMALL))
        cells += [_cell(SIDE + j * CELL, y, count, count / total if total else 0.0) for j, count in enumerate(row)]
    heads = [text(SIDE + (j + 0.5) * CELL, HEAD + 14, name, "middle") for j, name in enumerate(names)]
    side, bottom = SIDE + len(names) * CELL + 12, top + len(names) * CELL
    foot = text(SIDE, bottom + 18, "rows: true, columns: predicted; % of the row, and images", more=SMALL)
    return svg(side, bottom + 30, _heading(title), *heads, *cells, foot, picture=True, label=title)


def _cell(x: float, y: float, count: int, share: float) -> str:
    ink = "#fff" if share > 0.7 else "#1d2125"
    return (
        f'<rect x="{x}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" fill="{VALIDATION}" '
        f'fill-opacity="{math.sqrt(share):.2f}"/><g text-anchor="middle" fill="{ink}">'
        + text(x + CELL / 2, y + 26, f"{100 * share:.0f}", more='font-size="13"')
        + text(x + CELL / 2, y + 40, f"{count:,}", more=SMALL)
        + "</g>"
    )


def _heading(title: str) -> str:
    return text(12, 18, title, more='font-size="14" font-weight="600"')
