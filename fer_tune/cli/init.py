"""`fer-tune init`: a sweep to start from."""

from __future__ import annotations

from typing import Annotated

import typer

from fer_tune import api
from fer_tune.cli.completion import complete_families
from fer_tune.errors import SettingsError

EXAMPLES = (
    "fer-tune init resnet > mine.yaml",
    "fer-tune init torchvision/resnet18 > resnet18.yaml",
    "fer-tune init torchvision/resnet18 --weights resnet18.pth > tuned.yaml",
    "fer-tune init ./mynet.py:MyNet > mynet.yaml",
    "fer-tune init --all",
)


def init(
    family: Annotated[
        str | None,
        typer.Argument(
            metavar="[FAMILY]",
            help="Such as resnet, torchvision/resnet18 or ./mynet.py:MyNet.",
            autocompletion=complete_families,
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Start torchvision's network from a checkpoint, or from a model's folder.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Copy the sweeps that come with fer-tune into sweeps/.")
    ] = False,
) -> None:
    """Print a commented sweep of a family, or copy the shipped sweeps."""
    if everything and family is None and weights is None:
        for path in api.copy_sweeps():
            typer.echo(path)
    elif family is not None and not everything:
        typer.echo(api.template(family, weights), nl=False)
    else:
        from fer_tune.models import FAMILIES  # it takes as long as all the rest of `--help`

        hint = f"FAMILY is one of {', '.join(FAMILIES)}, torchvision/NAME, or ./FILE.py:CLASS."
        raise SettingsError("`fer-tune init` needs either a family or --all.", hint)
