"""Records the terminal of a real run for the README: python -m benchmarks.screenshot docs/run.svg

The picture is what the live view draws in the middle of a run of the demo sweep. Nothing in it is
made up. It names no web font.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from fer_tune.display.live import LiveView
from fer_tune.display.run_state import RunState
from fer_tune.display.view import draw
from fer_tune.job import EpochRow, Job
from fer_tune.jobs.observers import Observers
from fer_tune.settings import Settings
from fer_tune.sources.run import RunOptions, run_sweeps
from fer_tune.sweep.load import load_sweep

COLUMNS = 104
COMMAND = "fer-tune run sweeps/demo.yaml --workers 2"
AFTER = 5
"""Finished trials before the picture is taken."""


class Recorded(LiveView):
    """A live view that nobody sees. It keeps one picture."""

    def __init__(self, path: Path, state: RunState) -> None:
        super().__init__(Console(file=io.StringIO(), force_terminal=True, width=COLUMNS), state)
        self.path = path

    def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
        state = self.state
        busy = len(state.running) > 1 and all(shown.epoch > 0 for shown in state.running)
        if state.finished >= AFTER and busy and not self.path.exists():
            page = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False)
            page.print(Text.assemble(("$", "bold"), f" {COMMAND}\n"))
            page.print(draw(state, COLUMNS, monitor=self.monitor))
            plain = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
            self.path.write_text(page.export_svg(title="fer-tune", code_format=plain), encoding="utf-8")


def main(path: Path) -> None:
    """Runs the sweep in a folder of its own."""
    path.unlink(missing_ok=True)
    sweep = load_sweep(Path(__file__).parent.parent / "sweeps" / "demo.yaml")
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder), f"sqlite:///{folder}/fer_tune.db")
        state = RunState()
        observers = Observers([state, Recorded(path, state)], settings.logs / "observers.log")
        run_sweeps([sweep], settings, RunOptions(workers=2, wandb="disabled"), observers)
        if not path.exists():
            log = settings.logs / "observers.log"
            sys.exit(log.read_text("utf-8") if log.exists() else "No epoch ended while both workers were busy.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
