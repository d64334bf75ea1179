"""The confusion matrix of a final fit, as a PNG file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fer_tune.files import replace_file


def confusion_png(matrix: Sequence[Sequence[int]], names: Sequence[str], path: Path, title: str = "") -> Path:
    """Draws a confusion matrix: rows are true classes, columns predicted ones.

    A cell shows the fraction of its row, as a colour and in per cent, and the count. The colours
    are cividis (Nunez, Anderton and Renslow 2018). Its lightness rises evenly, so that it reads
    alike with any colour vision and in grey.

    Args:
        matrix: counts [C, C].
        names: the C class names.
        path: the PNG file. Its folder is created, and the file appears whole or not at all.
        title: a line above the matrix; may be empty.

    Returns:
        `path`.

    Raises:
        ValueError: the matrix is not square, or its side is not the number of names.
    """
    size = len(names)
    if len(matrix) != size or any(len(row) != size for row in matrix):
        raise ValueError(f"A confusion matrix of {size} classes must have {size} rows of {size} counts.")

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shares = [[count / total if (total := sum(row)) else 0.0 for count in row] for row in matrix]
    figure = Figure(figsize=(1.6 + 0.8 * size, 1.2 + 0.8 * size), layout="constrained")
    FigureCanvasAgg(figure)  # pyplot would keep the figure in memory and look for a display
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="cividis", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(size), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), [f"{name} ({sum(row)})" for name, row in zip(names, matrix, strict=True)])
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (images)")
    axes.set_title(title)
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            ink = "black" if share > 0.5 else "white"
            axes.text(j, i, f"{share:.0%}\n{matrix[i][j]}", ha="center", va="center", color=ink, fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.75, label="fraction of the true class")

    replace_file(path, lambda file: figure.savefig(file, format="png", dpi=120))
    return path
