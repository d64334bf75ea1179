"""`fer-tune watch`: a study from another terminal, read off the database."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from fer_tune.cli.options import Storage, StudyName, open_store, study_name
from fer_tune.display import terminal
from fer_tune.display.from_database import History
from fer_tune.display.view import View

SHARE = 5
"""Looking takes one part in so many of the time, at most."""


def watch(
    study: StudyName = None,
    interval: Annotated[float, typer.Option("--interval", min=0.2, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, print, and end.")] = False,
    storage: Storage = None,
) -> None:
    """Show a study as its run does, from the database alone, until Ctrl-C.

    It can be watched while it runs, here or on another machine, and afterwards. Only the memory and the load of
    workers are missing, which the database does not know.
    """
    out = terminal.console()
    with open_store(storage) as store:
        history = History(store, store.studies.get(study_name(store, study)))
        if not once and out.is_terminal and not out.is_dumb_terminal:
            follow(out, history, interval)
        out.print(View(history.board()))


def follow(out: Console, history: History, interval: float) -> None:
    """Draws the study in place until Ctrl-C; a large one is looked at less often."""
    board = history.board()
    with Live(console=out, get_renderable=lambda: View(board, height=out.height), transient=True) as live:
        try:
            while True:
                began = time.monotonic()
                board = history.board()
                live.refresh()
                time.sleep(max(interval, (SHARE - 1) * (time.monotonic() - began)))
        except KeyboardInterrupt:
            pass
