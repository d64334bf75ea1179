"""The notebook of the documentation: how it is executed, and that it was."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from benchmarks.notebook import executed

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def code(source: str) -> dict[str, Any]:
    return {"cell_type": "code", "source": [source], "outputs": [], "execution_count": None}


def test_a_cell_keeps_what_it_prints_draws_and_ends_with() -> None:
    draws = "import matplotlib.pyplot as plt\n_ = plt.subplots()"
    notebook = {"cells": [code("x = 1\nprint('hello')"), {"cell_type": "markdown"}, code(draws), code("x + 1")]}
    executed(notebook)
    printed, _, drawn, value = notebook["cells"]
    assert printed["outputs"] == [{"output_type": "stream", "name": "stdout", "text": ["hello\n"]}]
    assert base64.b64decode(drawn["outputs"][0]["data"]["image/png"]).startswith(b"\x89PNG")
    assert value["outputs"][0]["data"]["text/plain"] == ["2"]
    assert [cell["execution_count"] for cell in (printed, drawn, value)] == [1, 2, 3]


def test_the_notebook_was_executed() -> None:
    cells = [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 4
    for cell in cells:
        compile("".join(cell["source"]), "cell", "exec")
        assert cell["outputs"], "run make pictures"
