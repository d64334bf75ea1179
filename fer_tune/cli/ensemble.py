"""`fer-tune ensemble`: an ensemble of the trials of several studies, tested once."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from fer_tune import api
from fer_tune.cli.options import INTERRUPTED, LaneCount, Storage, Studies, StudyNames, Wandb, several_studies
from fer_tune.cli.predict import TtaOption
from fer_tune.cli.retrain import VIEWS, show_ledger
from fer_tune.cli.standings import say
from fer_tune.display import terminal
from fer_tune.job import Tta
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.sources.ensemble import EnsembleFit


EXAMPLES = ("fer-tune ensemble resnet vgg --size 8", "fer-tune ensemble --tta flip")


def ensemble(  # noqa: PLR0917 - options
    studies: Studies = None,
    named: StudyNames = None,
    size: Annotated[int, typer.Option("--size", min=1, max=100, metavar="N", help="Number of networks.")] = 8,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", min=1, metavar="N", help="Length of the schedules. Default: the studies'.", show_default=False
        ),
    ] = None,
    test: Annotated[bool, typer.Option("--test/--no-test", help="Open the test images once.")] = True,
    lanes: LaneCount = None,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="LIST", help="cpu, cuda:0, or cuda:0,cuda:1.", show_default=False),
    ] = None,
    tta: TtaOption = "none",
    wandb: Wandb = None,
    storage: Storage = None,
) -> None:
    """Choose trials whose predictions are best together, train them again, and test them once.

    The choice is made on stored predictions for validation images. A trial that is chosen twice is
    trained under two seeds. The same command continues a run that was killed.
    """
    from fer_tune.cli.run import display_of, lanes_of

    lines = terminal.Output()
    display = display_of(terminal.console(), lines, Settings.from_environment(storage), quiet=False, json_lines=False)
    fit = api.ensemble(
        several_studies(studies, named),
        size=size,
        epochs=epochs,
        tta=tta,
        test=test,
        lanes=lanes_of(lanes) or "auto",
        devices=devices,
        wandb=wandb,
        observer=display,
        storage=storage,
    )
    lines.close()
    if fit is None:
        raise typer.Exit(INTERRUPTED)
    _show(fit, tta)


def _show(fit: EnsembleFit, tta: Tta) -> None:
    out, choice, single = terminal.console(), fit.chosen.choice, fit.chosen.single
    networks = terminal.many(len(fit.fits), "network")
    terminal.line(out, f"{networks}, chosen from {terminal.many(len(fit.chosen.candidates), 'training')}")
    table = terminal.table()
    for heading in ("study", "trial", "changes", "networks", "validation"):
        table.add_column(heading, justify="left" if heading in ("study", "changes") else "right")
    for one in fit.chosen.members:
        changes = ", ".join(f"{key}={value}" for key, value in one.changes.items())
        table.add_row(one.study, str(one.trial), changes, str(one.weight), terminal.percent(one.value))
    out.print(table)
    figures = terminal.table("accuracy")
    for heading in ("", "ensemble", "best single", "± s.e."):
        figures.add_column(heading, justify="right" if heading else "left")
    figures.add_row(
        "validation, cross-fitted", terminal.percent(choice.honest), terminal.percent(choice.single_honest), ""
    )
    for key in sorted(fit.tested.views, key=lambda key: key != tta) if fit.tested else ():
        assert fit.tested is not None
        test, beside = fit.tested.views[key], fit.tested.beside[key]
        cells = [terminal.percent(one) for one in (test.scores.accuracy, beside.scores.accuracy, test.error)]
        figures.add_row(f"test, {VIEWS[key]}", *cells, style="bold" if key == tta else "")
    out.print(figures)
    say(out, [f"The best single trial is {single.trial} of {single.study}."])
    if fit.tested is not None:
        show_ledger(out, fit.tested.ledger)
    terminal.line(out, "ensemble: ", (str(fit.folder), "bold"))
    terminal.next_commands(out, f"fer-tune predict {shlex.quote(str(fit.folder))} IMAGE")
