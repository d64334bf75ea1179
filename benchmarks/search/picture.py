"""Draws docs/search.svg from the results: what each search has found at which time.

python -m benchmarks.search.picture
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.search.cases import OURS
from benchmarks.search.compare import by_rival, value_at

PICTURE = Path(__file__).parents[2] / "docs" / "search.svg"

TIMES = np.geomspace(0.1, 4.0, 80)
"""Points of a curve, in shipped budgets."""


def main() -> None:
    """Draws the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path(__file__).parents[1] / "results" / "search.json")
    parser.add_argument("--out", type=Path, default=PICTURE)
    options = parser.parse_args()
    draw(json.loads(options.results.read_text(encoding="utf-8")), options.out)


def draw(content: dict[str, Any], out: Path) -> None:
    """Draws a panel for each family and number of slots."""
    mpl.rcParams["svg.hashsalt"] = "fer-tune"  # the same results give the same file
    panels = [
        (family, int(slots), part)
        for family, part in sorted(content["families"].items())
        for slots in sorted(part["compared"], key=int)
    ]
    figure = Figure(figsize=(5.2 * len(panels), 3.8), layout="constrained")
    for index, (family, slots, part) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), index)
        _panel(axes, by_rival(part["runs"], slots), part["budget_seconds"])
        invented = ", invented curves" if part["simulation"].get("invented") else ""
        axes.set_title(f"{family}, {slots} slot{'s' if slots > 1 else ''}{invented}", fontsize=10)
    figure.savefig(out, metadata={"Date": None})


def _panel(axes: Axes, rivals: dict[str, Any], budget: float) -> None:
    """Draws the medians of all searches, and the quartiles of ours."""
    for rival, runs in sorted(rivals.items()):
        values = 100 * np.array([[value_at(run, time * budget) for time in TIMES] for run in runs.values()])
        values[values == 0] = np.nan
        ours = rival.startswith(OURS)
        median = np.median(values, axis=0)
        [line] = axes.plot(
            TIMES, median, lw=2.2 if ours else 1.1, label=f"{rival} ({len(runs)})", zorder=3 if ours else 2
        )
        if ours:
            low, high = np.quantile(values, [0.25, 0.75], axis=0)
            axes.fill_between(TIMES, low, high, color=line.get_color(), alpha=0.15, lw=0)
    axes.set_xscale("log")
    axes.set_xticks([0.25, 0.5, 1, 2, 4], ["¼", "½", "1", "2", "4"])
    axes.minorticks_off()
    axes.set_xlabel("shipped budgets")
    axes.set_ylabel("true validation accuracy of the incumbent, %")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, frameon=False)


if __name__ == "__main__":
    main()
