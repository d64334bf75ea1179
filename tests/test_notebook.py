"""The notebook of the documentation: it is what its script makes, and its cells run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.notebook import CELLS, TARGET

COMMITTED = json.loads(TARGET.read_text(encoding="utf-8"))


def test_the_notebook_is_the_one_of_the_script_and_was_executed() -> None:
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in COMMITTED["cells"]] == list(CELLS)
    for cell in COMMITTED["cells"]:
        for output in cell.get("outputs", ()):
            assert output["output_type"] != "error"
        if cell["cell_type"] == "code":
            assert cell["outputs"], cell["source"]
    text = json.dumps(COMMITTED)
    assert "/tmp/" not in text
    assert "4 complete" in text  # the view of the run


@pytest.mark.slow
def test_the_cells_run(tmp_path: Path) -> None:
    code = "\n".join(source for kind, source in CELLS if kind == "code")
    environment = {name: value for name, value in os.environ.items() if name != "FER_TUNE_DIR"}
    environment["PYTHONPATH"] = str(TARGET.parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "over start 'a first guess'" in done.stdout or "no drawn trial is better" in done.stdout
    assert (tmp_path / "model" / "model.safetensors").is_file()
