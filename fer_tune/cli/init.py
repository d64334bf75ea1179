"""`fer-tune init`: a sweep to start from."""

from __future__ import annotations

from typing import Annotated

import typer

from fer_tune import api
from fer_tune.models import FAMILIES


def init(family: Annotated[str, typer.Argument(metavar="FAMILY", help=f"{', '.join(FAMILIES)}.")]) -> None:
    """Print a commented sweep of a family: fer-tune init resnet > sweeps/mine.yaml."""
    typer.echo(api.template(family), nl=False)
