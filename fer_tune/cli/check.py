"""`fer-tune check`: what sweeps search, or everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console

from fer_tune import api
from fer_tune.cli.options import Changes, SweepFiles
from fer_tune.display import terminal
from fer_tune.display.terminal import Column, many

if TYPE_CHECKING:
    from fer_tune.sweep import Sweep


EXAMPLES = ("fer-tune check resnet", "fer-tune check sweeps/mine.yaml --set lr=0.01")


def check(
    sweep: Annotated[list[Path], SweepFiles],
    settings: Changes = None,
) -> None:
    """Check sweeps and show what they search, without training."""
    out = terminal.console()
    for checked in api.check(sweep, settings or ()):
        _show(out, checked)


def _show(out: Console, sweep: Sweep) -> None:
    from fer_tune.sweep.describe import describe_images, rows

    hours = "" if sweep.budget.hours is None else f", {many(sweep.budget.hours, 'hour')}"
    trials, epochs = many(sweep.budget.trials, "trial"), many(sweep.budget.epochs, "epoch")
    budget = f"{trials} of at most {epochs}{hours}"
    terminal.line(out, (sweep.study, "bold"), f": {sweep.family} on {describe_images(sweep)}, {budget}")
    starts = many(len(sweep.start), "start configuration")
    how = f"sampler {sweep.sampler.name}, pruner {sweep.pruner.name}"
    if sweep.search.strategy == "promote":
        from fer_tune.sweep.rung_levels import levels_of

        epochs_of_rungs = ", ".join(map(str, levels_of(sweep)[:-1]))
        rungs = f"rungs at epochs {epochs_of_rungs}" if epochs_of_rungs else "no rungs"
        how = f"sampler {sweep.sampler.name}, {rungs}"
    terminal.line(out, f"maximises {sweep.objective}; {how}; {starts}")
    found = rows(sweep)
    columns = [Column("hyperparameter"), Column("", needs=60), Column("values", folds=True), Column("when", folds=True)]
    cells = [(row.name, row.kind, row.values, row.when) for row in found]
    dim = {place for place, row in enumerate(found) if row.kind == "default"}
    out.print(terminal.listing(columns, cells, out.width, dim=dim))
    for remark in sweep.notes:
        terminal.line(out, remark)
