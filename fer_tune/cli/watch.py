"""`fer-tune watch`: shows a study from another terminal, read from the database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fer_tune.cli.options import Storage, StudyArgument, StudyName, one_study, open_store, study_name
from fer_tune.display import terminal

if TYPE_CHECKING:
    from fer_tune.display.from_database import StudyReader

SHARE = 5
"""Reading takes at most one part in so many of the time."""


EXAMPLES = ("fer-tune watch resnet", "fer-tune watch resnet --once")


def watch(
    study: StudyArgument = None,
    named: StudyName = None,
    interval: Annotated[
        float, typer.Option("--interval", metavar="S", min=0.2, help="Seconds between two readings.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Read once, print, and exit.")] = False,
    storage: Storage = None,
) -> None:
    """Show a study as its run does, until Ctrl-C. Everything is read from the database.

    You can watch a study while it runs or afterwards, here or on another machine that can read the
    database. It does not know the memory and the load of workers, so these are not shown.
    """
    from fer_tune.display.from_database import StudyReader
    from fer_tune.display.view import draw

    out = terminal.console()
    with open_store(storage) as store:
        reader = StudyReader(store, store.studies.get(study_name(store, one_study(study, named))))
        if not once and out.is_terminal and not out.is_dumb_terminal:
            follow(out, reader, interval)
        out.print(draw(reader.read(), out.width))


def follow(out: Console, reader: StudyReader, interval: float) -> None:
    """Draws the study in place until Ctrl-C. A large study is read less often."""
    from rich.live import Live

    from fer_tune.display.view import draw

    state = reader.read()
    with Live(console=out, get_renderable=lambda: draw(state, out.width, out.height), transient=True) as live:
        try:
            while True:
                began = time.monotonic()
                state = reader.read()
                live.refresh()
                time.sleep(max(interval, (SHARE - 1) * (time.monotonic() - began)))
        except KeyboardInterrupt:
            pass
