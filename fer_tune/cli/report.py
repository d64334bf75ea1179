"""`fer-tune report`: the results of studies, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fer_tune import api
from fer_tune.cli.options import Storage
from fer_tune.display import terminal


def report(
    studies: Annotated[
        str | None, typer.Option("--studies", "--study", metavar="A,B", help="Default: all.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Default: report.html or report.md.", show_default=False),
    ] = None,
    form: Annotated[Literal["html", "md"], typer.Option("--format", help="md writes tables for a README.")] = "html",
    wandb: Annotated[
        bool, typer.Option("--wandb", help="Also log the page and its tables to wandb, a run for each study.")
    ] = False,
    storage: Storage = None,
) -> None:
    """Write the results of the studies into one HTML file that loads nothing from elsewhere."""
    names = None if studies is None else [name.strip(" ") for name in studies.split(",")]
    file = api.write_report(out or f"report.{form}", names, form, storage=storage)
    terminal.line(terminal.console(), str(file))
    for place in api.publish_report(names, storage=storage) if wandb else ():
        terminal.line(terminal.console(), f"wandb: {place}")
