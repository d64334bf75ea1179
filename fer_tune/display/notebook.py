"""Shows a run in a notebook: the view of the terminal, drawn in place below the cell."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from fer_tune.display import terminal
from fer_tune.display.run_state import RunState
from fer_tune.display.view import draw
from fer_tune.jobs import Observer, Plan
from fer_tune.pool import WorkerInfo

if TYPE_CHECKING:
    from fer_tune.study import Counts

WIDTH, HEIGHT = 100, 30
"""Of the drawing, in characters."""

PAUSE = 0.5
"""Seconds between two drawings, at least."""

HTML = '<pre style="white-space:pre;overflow-x:auto;line-height:1.25;font-family:monospace">{code}</pre>'


def in_notebook() -> bool:
    """Returns whether this process is the kernel of a notebook."""
    if "IPython" not in sys.modules:  # nobody has imported it, so this is not a kernel
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


class NotebookView(Observer):
    """Draws a run state as HTML, and draws it again in the same place.

    Args:
        state: what is drawn. It is an observer too, and hears of each event before the view does.
        recall: adds the trials of earlier runs to the state.
    """

    def __init__(self, state: RunState, recall: Callable[[RunState], None] = lambda state: None) -> None:
        from IPython.display import display

        self.state, self._recall = state, recall
        self._notes: list[str] = []
        self._due = 0.0
        self._handle: Any = display(_html(""), display_id=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.draw()

    def note(self, text: str) -> None:
        self._notes = [*self._notes[-4:], text]

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        self._recall(self.state)

    def tick(self) -> None:
        if time.monotonic() >= self._due:
            self.draw()

    def draw(self) -> None:
        """Draws the state as it is now."""
        out = Console(record=True, file=io.StringIO(), width=WIDTH, height=HEIGHT, force_jupyter=False)
        for text in self._notes:
            out.print(Text(terminal.shown(text), "dim"))
        if self.state.study:
            out.print(draw(self.state, WIDTH, HEIGHT))
        self._handle.update(_html(out.export_html(inline_styles=True, code_format=HTML)))
        self._due = time.monotonic() + PAUSE


def _html(text: str) -> Any:
    from IPython import display

    return display.HTML(text)
