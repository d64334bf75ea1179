"""Small parts of a view: one line of text, a bar, how far a job is."""

from __future__ import annotations

import time

from rich.progress_bar import ProgressBar
from rich.text import Text

from fer_tune.display import terminal
from fer_tune.display.shown import ShownJob

QUIET = 2.0
"""An epoch is timed from so many seconds on. A shorter one needs no progress of its own."""

HARD_SPACE = "\u00a0"
"""Keeps a hyperparameter and its value on one line."""


def bar(done: float, total: int, cells: int) -> ProgressBar:
    """Returns a bar that says how much is done."""
    return ProgressBar(max(1, total), done, cells, complete_style="cyan", finished_style="green")


def one_line(text: Text) -> Text:
    """Returns the text as one line, cut where it does not fit. What moves the cursor is escaped."""
    text.plain, text.no_wrap, text.overflow = terminal.shown(text.plain.replace(HARD_SPACE, " ")), True, "ellipsis"
    return text


def sides(left: Text, right: Text, width: int) -> list[Text]:
    """Returns a line with a text at each edge, or two lines where they do not fit into one."""
    left, right = one_line(left), one_line(right)
    blanks = width - left.cell_len - right.cell_len
    return [left + Text(" " * blanks) + right] if blanks > 0 else [left, right]


def in_epoch(job: ShownJob) -> str:
    """Returns how far a job is within its epoch: its steps, or the time since the epoch began."""
    if job.progress:
        return f"{job.progress.step}/{job.progress.steps}"
    if job.since is None or (waited := time.monotonic() - job.since) < QUIET:
        return ""
    return terminal.clock(waited)
