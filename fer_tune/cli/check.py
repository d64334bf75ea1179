"""`fer-tune check`: what sweeps search, or everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fer_tune import api
from fer_tune.cli.completion import complete_families
from fer_tune.cli.options import PROBLEMS, Changes, SweepFiles
from fer_tune.display import terminal
from fer_tune.display.terminal import Column, many
from fer_tune.errors import SettingsError

if TYPE_CHECKING:
    from fer_tune.sweep import Sweep


EXAMPLES = (
    "fer-tune check resnet",
    "fer-tune check mine.yaml --set lr=0.01",
    "fer-tune check --family ./mynet.py:MyNet",
)


def check(
    sweep: Annotated[list[Path] | None, SweepFiles] = None,
    family: Annotated[
        str | None,
        typer.Option(
            "--family",
            metavar="FAMILY",
            help="Check a family instead: a name, or ./mynet.py:MyNet.",
            autocompletion=complete_families,
            show_default=False,
        ),
    ] = None,
    settings: Changes = None,
) -> None:
    """Check sweeps and show what they search, without training.

    --family builds a network for images of several sizes and colours, and trains it for a step.
    """
    out = terminal.console()
    if family is not None:
        _check_family(out, family)
    elif not sweep:
        raise SettingsError("`fer-tune check` needs a sweep, or --family.", "Example: fer-tune check resnet.")
    if not sweep:
        return
    for place, checked in enumerate(api.check(sweep, settings or ())):
        if place:
            out.print()
        _show(out, checked)


def _check_family(out: Console, family: str) -> None:
    """Prints what the trainer expects of a family. Ends with 1 if something is wrong."""
    found = api.check_family(family)
    for one in found:
        mark = ("wrong", "bold red") if one.wrong else ("ok", "green")
        terminal.line(out, mark, f"  {one.what}", f": {one.wrong}" if one.wrong else "")
    if any(one.wrong for one in found):
        raise typer.Exit(PROBLEMS)


def _show(out: Console, sweep: Sweep) -> None:
    from fer_tune.models import start_weights
    from fer_tune.sweep.describe import describe_images, rows

    hours = "" if sweep.budget.hours is None else f", {terminal.period(sweep.budget.hours)}"
    trials, epochs = many(sweep.budget.trials, "trial"), many(sweep.budget.epochs, "epoch")
    budget = f"{trials} of at most {epochs}{hours}"
    what = f"{terminal.family(sweep.family)} on {describe_images(sweep)}"
    terminal.line(out, (sweep.study, "bold"), f": {what}, {budget}")
    starts = many(len(sweep.start), "start configuration") if sweep.start else "no start configuration"
    how = f"sampler {sweep.sampler.name}, pruner {sweep.pruner.name}"
    if sweep.search.strategy == "promote":
        from fer_tune.sweep.rung_levels import levels_of

        levels = levels_of(sweep)[:-1]
        several = "s" if len(levels) > 1 else ""
        rungs = f"rung{several} at epoch{several} {', '.join(map(str, levels))}" if levels else "no rungs"
        how = f"sampler {sweep.sampler.name}, {rungs}"
    terminal.line(out, f"maximises {sweep.objective}")
    if weighted := start_weights.NAMED.fullmatch(sweep.family):
        terminal.line(out, f"starts from weights whose SHA-256 begins with {weighted['digest']}")
    terminal.line(out, f"{how}; {starts}")
    found = rows(sweep)
    columns = [Column("hyperparameter"), Column("", needs=60), Column("values", folds=True), Column("when", folds=True)]
    cells = [(row.name, row.kind, row.values, row.when) for row in found]
    dim = {place for place, row in enumerate(found) if row.kind == "default"}
    out.print(terminal.listing(columns, cells, out.width, dim=dim))
    for remark in sweep.notes:
        terminal.line(out, remark)
