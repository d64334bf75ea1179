"""`fer-tune check`: what sweeps search, or everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fer_tune import api
from fer_tune.cli.options import Changes
from fer_tune.display import terminal
from fer_tune.display.terminal import Column

if TYPE_CHECKING:
    from fer_tune.sweep import Sweep


def check(
    sweep: Annotated[
        list[Path], typer.Argument(metavar="SWEEP...", help="Sweep files, folders, or names such as resnet.")
    ],
    settings: Changes = None,
) -> None:
    """Check sweeps and show what they search, without training."""
    out = terminal.console()
    for checked in api.check(sweep, settings or ()):
        _show(out, checked)


def _show(out: Console, sweep: Sweep) -> None:
    from fer_tune.sweep.describe import describe_images, rows

    hours = f", {sweep.budget.hours:g} hours" if sweep.budget.hours else ""
    budget = f"{sweep.budget.trials} trials of at most {sweep.budget.epochs} epochs{hours}"
    terminal.line(out, (sweep.study, "bold"), f": {sweep.family} on {describe_images(sweep)}, {budget}")
    starts = "1 start configuration" if len(sweep.start) == 1 else f"{len(sweep.start)} start configurations"
    how = f"sampler {sweep.sampler.name}, pruner {sweep.pruner.name}"
    if sweep.search.strategy == "promote":
        from fer_tune.study.rungs import levels_of

        rungs = ", ".join(map(str, levels_of(sweep)[:-1])) or "none"
        how = f"sampler {sweep.sampler.name}, rungs at epochs {rungs}"
    terminal.line(out, f"maximises {sweep.objective}; {how}; {starts}")
    found = rows(sweep)
    columns = [Column("hyperparameter"), Column("", needs=60), Column("values", folds=True), Column("when", folds=True)]
    cells = [(row.name, row.kind, row.values, row.when) for row in found]
    dim = {place for place, row in enumerate(found) if row.kind == "default"}
    out.print(terminal.listing(columns, cells, out.width, dim=dim))
    for remark in sweep.notes:
        terminal.line(out, remark)
