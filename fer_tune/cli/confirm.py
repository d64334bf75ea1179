"""`fer-tune confirm`: trains the best trials of a study under new seeds."""

from __future__ import annotations

from typing import Annotated

import typer

from fer_tune import api
from fer_tune.api.for_commands import beside_start
from fer_tune.cli.options import INTERRUPTED, AsJson, LaneCount, Storage, StudyArgument, StudyName, Wandb, one_study
from fer_tune.display import terminal
from fer_tune.settings import Settings

EXAMPLES = ("fer-tune confirm resnet --top 5 --seeds 3", "fer-tune confirm resnet --devices cuda:0,cuda:1")


def confirm(  # noqa: PLR0917 - options
    study: StudyArgument = None,
    named: StudyName = None,
    top: Annotated[int, typer.Option("--top", min=1, max=1000, metavar="K", help="Number of trials.")] = 5,
    seeds: Annotated[
        int, typer.Option("--seeds", min=2, max=64, metavar="R", help="New seeds for each trial, at most.")
    ] = 3,
    lanes: LaneCount = None,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="LIST", help="cpu, cuda:0, or cuda:0,cuda:1.", show_default=False),
    ] = None,
    json: AsJson = False,
    wandb: Wandb = None,
    storage: Storage = None,
) -> None:
    """Train the best trials of a study under new seeds, and rank them by their means.

    A trial that is clearly behind gets no more seeds. The same command continues a run that was
    killed.
    """
    from fer_tune.cli.run import display_of, lanes_of
    from fer_tune.cli.standings import as_dict, say, show

    lines = terminal.Output()
    display = display_of(terminal.console(), lines, Settings.from_environment(storage), quiet=json, json_lines=False)
    found = api.confirm(
        one_study(study, named),
        top=top,
        seeds=seeds,
        lanes=lanes_of(lanes) or "auto",
        devices=devices,
        wandb=wandb,
        observer=display,
        storage=storage,
    )
    lines.close()
    if found is None:
        raise typer.Exit(INTERRUPTED)
    shown = len(found.confirmations.trials) if found.confirmations else top
    if json:
        terminal.print_json(as_dict(found, shown))
        return
    out = terminal.console()
    terminal.line(out, (found.study, "bold"), f": {terminal.many(shown, 'trial')} under new seeds, {found.objective}")
    show(out, found, shown)
    if found.ranked:
        gained = api.gain(found.study, found.ranked[0].trial.number, storage=storage)
        say(out, filter(None, [beside_start(found.study, gained, storage=storage)]))
    terminal.next_commands(out, f"fer-tune best {found.study}", f"fer-tune retrain {found.study}")
