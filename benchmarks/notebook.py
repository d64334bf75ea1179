"""Writes the notebook of the documentation: runs its cells in a kernel, and keeps what they print.

    pip install nbclient ipykernel
    python -m benchmarks.notebook

`docs/hooks/notebook.py` makes a page of it. A slow test runs the cells without a kernel.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "docs" / "search-in-a-notebook.ipynb"

CELLS: tuple[tuple[str, str], ...] = (
    (
        "markdown",
        "A sweep is a YAML file. This one searches four hyperparameters of a small network on drawn faces.",
    ),
    (
        "code",
        '''from pathlib import Path

import fer_tune

Path("small.yaml").write_text("""
family: simple_cnn
data: demo
sampler: random
pruner: none
budget: {trials: 4, epochs: 2}
params:
  lr: {low: 1e-3, high: 1e-2, log: true}
  batch_size: {choices: [32, 64]}
  width: {choices: [8, 16]}
  augment: {low: 0.0, high: 0.5}
start:
  - {name: a first guess, lr: 2e-3, batch_size: 64, width: 8, augment: 0.1}
""")
[sweep] = fer_tune.check("small.yaml")
sorted(sweep.space)''',
    ),
    (
        "markdown",
        "`run` shows what happens below its cell. A callback hears of each trial that ends. The same call again "
        "continues the study.",
    ),
    (
        "code",
        """values = []
outcome = fer_tune.run(
    "small.yaml",
    workers=1,
    devices="cpu",
    wandb="disabled",
    callbacks=[lambda job, ended: values.append(ended.value)],
)
[round(value, 3) for value in values]""",
    ),
    ("markdown", "Trials and learning curves are tables of pandas."),
    (
        "code",
        """trials = fer_tune.load_trials("small")
trials[["number", "state", "value", "name", "params.lr", "params.width"]]""",
    ),
    (
        "code",
        """epochs = fer_tune.load_epochs("small")
epochs.pivot(index="epoch", columns="number", values="val_accuracy").round(3)""",
    ),
    ("markdown", "What the search gained over the first guess, and whether chance explains it:"),
    ("code", """print(fer_tune.gain("small").sentence())"""),
    (
        "markdown",
        "The best trial is trained again, on training and validation images, and predicts the class of images.",
    ),
    (
        "code",
        """fits = fer_tune.retrain("small", devices="cpu", test=False, wandb="disabled", out="model")
model = fer_tune.load_model("model")
model.spec.classes""",
    ),
    (
        "code",
        """import numpy as np

grey = np.full((2, 48, 48), 128, dtype=np.uint8)
model.predict(grey).round(2)""",
    ),
)


def notebook() -> dict[str, Any]:
    """Returns the notebook without outputs."""
    cells = []
    for number, (kind, source) in enumerate(CELLS):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": source}
        cells.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def main() -> None:
    """Runs the cells and writes the notebook."""
    import nbformat
    from nbclient import NotebookClient

    made = nbformat.from_dict(notebook())
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(made, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}})
        client.execute()
    for cell in made.cells:
        cell.metadata = {}  # when each cell ran is of no interest
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    TARGET.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
