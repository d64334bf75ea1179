"""`fer-tune import`: a sweep from one of W&B."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_tune import api
from fer_tune.cli.completion import complete_families
from fer_tune.display import terminal

EXAMPLES = (
    "fer-tune import wandb-sweep.yaml > mine.yaml",
    "fer-tune import wandb-sweep.yaml --family vgg > vgg2.yaml",
)


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A sweep of W&B.")],
    family: Annotated[
        str | None,
        typer.Option(
            "--family",
            metavar="FAMILY",
            help="The network. Default: what the file says, else resnet.",
            autocompletion=complete_families,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print a sweep that searches what a W&B sweep searches.

    What fer-tune does not have becomes a comment. Problems that are left are on standard error.
    """
    found = api.convert_sweep(file, family)
    typer.echo(found.text, nl=False)
    for problem in found.problems:
        terminal.note(f"{file}: still to mend: {problem}")
