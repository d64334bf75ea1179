"""Says what early epochs tell of the end of a training, from collected curves.

    python -m benchmarks.search.early --family deep_cnn
    python -m benchmarks.search.early --family deep_cnn --kind search

It prints Spearman's rank correlation of several early values with the best accuracy of the whole
schedule, over all configurations and over the better half of them at that epoch. `--kind search`
takes the configurations that searches trained to their end.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.search.curves import FOLDER, MEASURES, Curves, Floats

EPOCHS = (1, 2, 3, 4, 6, 9, 12, 18, 27)

VALUES: dict[str, Callable[[Floats, int], Floats]] = {
    "val accuracy": lambda rows, epoch: rows[:, epoch - 1, MEASURES.index("val_accuracy")],
    "val loss": lambda rows, epoch: -rows[:, epoch - 1, MEASURES.index("val_loss")],
    "train loss": lambda rows, epoch: -rows[:, epoch - 1, MEASURES.index("train_loss")],
    "best so far": lambda rows, epoch: rows[:, :epoch, MEASURES.index("val_accuracy")].max(axis=1),
    "mean of 3": lambda rows, epoch: rows[:, max(0, epoch - 3) : epoch, MEASURES.index("val_accuracy")].mean(axis=1),
}
"""Early values by name, from [configurations, epochs, measures]. Higher is better."""


def correlations(rows: Floats, epoch: int) -> dict[str, tuple[float, float]]:
    """Returns the rank correlation of each early value, over all rows and over the better half.

    Args:
        rows: [configurations, epochs, measures] of whole trainings.
    """
    final = rows[:, :, MEASURES.index("val_accuracy")].max(axis=1)
    found = {}
    for name, value in VALUES.items():
        early = value(rows, epoch)
        better = early >= np.median(early)
        found[name] = (
            float(spearmanr(early, final).statistic),
            float(spearmanr(early[better], final[better]).statistic),
        )
    return found


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", default="deep_cnn")
    parser.add_argument("--curves", type=Path, help="another file of curves")
    parser.add_argument("--kind", default="random", choices=["random", "near", "search"])
    options = parser.parse_args()
    curves = Curves.load(options.curves or FOLDER / f"{options.family}.npz")
    rows = np.stack([curve.rows for curve in curves.whole() if curves.kind(curve) == options.kind]).astype(np.float64)
    print(f"{curves.family}: {len(rows)} configurations ({options.kind}), {curves.epochs} epochs")
    print("all of them / the better half")
    print(f"{'epoch':>6}" + "".join(f"{name:>16}" for name in VALUES))
    for epoch in EPOCHS:
        if epoch < curves.epochs:
            cells = (f"{every:.2f} / {half:.2f}" for every, half in correlations(rows, epoch).values())
            print(f"{epoch:>6}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    main()
