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
    from fer_tune.sweep.schema import Budget


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

    what = f"{terminal.family(sweep.family)} on {describe_images(sweep)}"
    terminal.line(out, (sweep.study, "bold"), f": {what}, {_budget(sweep.budget)}")
    starts = many(len(sweep.start), "start configuration") if sweep.start else "no start configuration"
    terminal.line(out, f"maximises {sweep.objective}")
    if weighted := start_weights.NAMED.fullmatch(sweep.family):
        terminal.line(out, f"starts from weights whose SHA-256 begins with {weighted['digest']}")
    terminal.line(out, f"{_how(sweep)}; {starts}")
    found = rows(sweep)
    columns = [Column("hyperparameter"), Column("", needs=60), Column("values", folds=True), Column("when", folds=True)]
    cells = [(row.name, row.kind, row.values, row.when) for row in found]
    dim = {place for place, row in enumerate(found) if row.kind == "default"}
    out.print(terminal.listing(columns, cells, out.width, dim=dim))
    for remark in sweep.notes:
        terminal.line(out, remark)


def _budget(budget: Budget) -> str:
    """Returns in words when a study ends."""
    said = [f"{many(budget.trials, 'trial')} of at most {many(budget.epochs, 'epoch')}"]
    if budget.hours is not None:
        said.append(terminal.period(budget.hours))
    if budget.gpu_hours is not None:
        said.append(f"{terminal.period(budget.gpu_hours)} of all devices")
    if budget.patience is not None:
        said.append(f"patience of {many(budget.patience, 'trial')}")
    return ", ".join(said)


def _how(sweep: Sweep) -> str:
    """Returns in words what draws trials, and what stops them."""
    from fer_tune.sweep.rung_levels import levels_of

    said = [f"sampler {sweep.sampler.name}"]
    pauses = sweep.search.strategy == "promote"
    if pauses:
        levels = levels_of(sweep)[:-1]
        several = "s" if len(levels) > 1 else ""
        said.append(f"rung{several} at epoch{several} {', '.join(map(str, levels))}" if levels else "no rungs")
    if not pauses or sweep.pruner.name != "none":
        said.append(f"pruner {sweep.pruner.name}")
    if (prior := sweep.search.prior) is not None:
        source = "from start" if prior.study is None else f"of the study {prior.study}"
        said.append(f"prior {source} ({prior.confidence})")
    return ", ".join(said)
