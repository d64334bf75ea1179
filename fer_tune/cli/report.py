"""`fer-tune report`: the results of studies, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fer_tune import api
from fer_tune.cli.options import Storage, Studies, StudyNames, several_studies
from fer_tune.display import terminal

EXAMPLES = (
    "fer-tune report",
    "fer-tune report resnet vgg --out results.html",
    "fer-tune report --study resnet --format md",
)


def report(  # noqa: PLR0917 - options
    studies: Studies = None,
    named: StudyNames = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Default: report.html or report.md.", show_default=False),
    ] = None,
    form: Annotated[
        Literal["html", "md"], typer.Option("--format", metavar="html|md", help="md writes tables for a README.")
    ] = "html",
    wandb: Annotated[
        bool, typer.Option("--wandb", help="Also log the page and its tables to wandb, a run for each study.")
    ] = False,
    storage: Storage = None,
) -> None:
    """Write the results of the studies into one HTML file that loads nothing from elsewhere."""
    names = several_studies(studies, named)
    file = api.write_report(out or f"report.{form}", names, form, storage=storage)
    terminal.line(terminal.console(), str(file))
    for place in api.publish_report(names, storage=storage) if wandb else ():
        terminal.line(terminal.console(), f"wandb: {place}")
