"""Sweep files: check one, begin one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_tune.display import terminal
from fer_tune.display.terminal import Column
from fer_tune.errors import SettingsError


def check(
    sweep: Annotated[list[Path], typer.Argument(metavar="SWEEP...", help="Sweep files, or folders of them.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the sweep; repeatable.")
    ] = None,
) -> None:
    """Check sweeps and show what they search, without training."""
    from fer_tune.sweep.describe import rows
    from fer_tune.sweep.load import load_sweeps

    out = terminal.console()
    for checked in load_sweeps(sweep, settings or ()):
        hours = f", {checked.budget.hours:g} hours" if checked.budget.hours else ""
        budget = f"{checked.budget.trials} trials of at most {checked.budget.epochs} epochs{hours}"
        terminal.line(out, (checked.study, "bold"), f": {checked.family} on {checked.data}, {budget}")
        terminal.line(
            out,
            f"maximises {checked.objective}; sampler {checked.sampler.name}, pruner {checked.pruner.name}; ",
            f"{len(checked.start)} start configurations",
        )
        found = rows(checked)
        columns = [
            Column("hyperparameter"),
            Column("", needs=60),
            Column("values", folds=True),
            Column("when", folds=True),
        ]
        cells = [(row.name, row.kind, row.values, row.when) for row in found]
        dim = {place for place, row in enumerate(found) if row.kind == "default"}
        out.print(terminal.listing(columns, cells, out.width, dim=dim))
        for remark in checked.notes:
            terminal.line(out, remark)


def init(
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="simple_cnn, deep_cnn, resnet or vgg.")],
) -> None:
    """Print a commented sweep of a family, to start from: fer-tune init resnet > sweeps/mine.yaml."""
    from fer_tune.models import FAMILIES
    from fer_tune.sweep.templates import template

    if family not in FAMILIES:
        raise SettingsError(f"There is no family {family}.", f"Families: {', '.join(FAMILIES)}.")
    typer.echo(template(family), nl=False)
