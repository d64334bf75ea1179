"""`fer-tune report`: what the sweeps found, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fer_tune.cli.options import Storage, open_store
from fer_tune.display import terminal
from fer_tune.errors import StudyError


def report(
    studies: Annotated[
        str | None, typer.Option("--studies", metavar="A,B", help="Default: all.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Default: report.html or report.md.", show_default=False),
    ] = None,
    form: Annotated[Literal["html", "md"], typer.Option("--format", help="md: tables for a README.")] = "html",
    storage: Storage = None,
) -> None:
    """Write what the studies found into one HTML file that needs nothing else."""
    from fer_tune.files import replace_text

    with open_store(storage) as store:
        from fer_tune.report.page import render

        known = [one.name for one in store.studies.all()]
        names = known if studies is None else list(dict.fromkeys(name.strip() for name in studies.split(",")))
        if not names:
            raise StudyError(f"There is no study in {store.shown}.", "`fer-tune run SWEEP` makes one.")
        file = out or Path(f"report.{form}")
        replace_text(file, render(store, names, form))
        file.chmod(0o644)  # it is made to be handed on
    terminal.line(terminal.console(), str(file))
