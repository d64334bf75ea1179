"""`fer-tune replay`: what other rungs, pruners and budgets would have come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from fer_tune import api
from fer_tune.cli.options import NOTHING_COMPLETED, AsJson, Storage, StudyArgument, StudyName, one_study
from fer_tune.display import terminal
from fer_tune.display.terminal import Column

if TYPE_CHECKING:
    from fer_tune.store import StudyRecord
    from fer_tune.study.replay import Replayed

CAVEATS = (
    "The trials are the recorded ones, in their order. Another search would have proposed others.",
    "An early stop looks cheaper than it is if the study stopped trials itself: nobody knows how they would "
    "have continued. `unknown` counts the trials whose continuation a rule needed.",
    "One worker is assumed. The best of many values is too high by chance.",
)


EXAMPLES = ("fer-tune replay resnet", "fer-tune replay resnet --pruner median --budget 0.5")


def replay(  # noqa: PLR0917 - options
    study: StudyArgument = None,
    named: StudyName = None,
    search: Annotated[
        list[str] | None,
        typer.Option("--search", metavar="SPEC", help="A sweep's `search`. Repeatable.", show_default=False),
    ] = None,
    pruner: Annotated[
        list[str] | None,
        typer.Option("--pruner", metavar="SPEC", help="A sweep's `pruner`. Repeatable.", show_default=False),
    ] = None,
    budget: Annotated[
        list[float] | None,
        typer.Option(
            "--budget",
            metavar="PART",
            min=0.01,
            max=100,
            help="Part of the time that the study trained; 1 is all of it. Repeatable.",
            show_default=False,
        ),
    ] = None,
    json: AsJson = False,
    storage: Storage = None,
) -> None:
    """Show what other rungs, pruners and budgets would have found.

    It replays the study's recorded curves and trains nothing.
    """
    record = api.find_study(one_study(study, named), storage=storage)
    name = record.name
    found = api.replay(name, searches=search or (), pruners=pruner or (), budgets=budget or (1.0,), storage=storage)
    trained = any(one.started for one in found)
    if json:
        terminal.print_json([asdict(one) for one in found if trained])
    if not trained:
        terminal.note(f"No trial of {name} has trained yet.")
        raise typer.Exit(NOTHING_COMPLETED)
    if not json:
        _show(record, found, budgets=budget is not None)


def _show(record: StudyRecord, found: Sequence[Replayed], *, budgets: bool) -> None:
    """Prints a table, and what it cannot say."""
    out = terminal.console()
    columns = [
        Column("rule", folds=True),
        *([Column("budget", right=True)] if budgets else []),
        Column("time", right=True),
        Column("started", right=True, needs=60),
        Column("complete", right=True),
        Column("to the top", right=True, needs=96),
        Column("unknown", right=True, needs=70),
        Column("best", right=True),
        Column("trial", right=True),
    ]
    whole = found[0].seconds or 1.0  # the time that the study trained
    rows = [_row(one, [f"{one.budget / whole:g}"] if budgets else []) for one in found]
    terminal.line(out, (record.name, "bold"))
    out.print(terminal.listing(columns, rows, out.width))
    unreached = dict.fromkeys(f"{one.rule}: {note.partition(': ')[2]}." for one in found for note in one.notes)
    for text in (*unreached, *CAVEATS, *_error(record, found[0])):
        out.print(Text(terminal.shown(text), "dim"))


def _error(record: StudyRecord, recorded: Replayed) -> list[str]:
    """Returns a sentence with the standard error of the best value, if the objective has one."""
    from fer_tune.selection.statistics import standard_error

    images = record.split.counts.get("val", 0)
    error = standard_error(recorded.value, images)
    if error is None or record.objective != "val_accuracy":
        return []
    of = terminal.many(images, "image")
    return [f"Validation has {of}, so one standard error of the best value is {100 * error:.1f} points."]


def _row(one: Replayed, budget: Sequence[str]) -> tuple[str, ...]:
    return (
        one.rule,
        *budget,
        terminal.duration(one.seconds),
        f"{one.started}{' (all)' if one.exhausted else ''}",
        str(one.complete),
        f"{100 * one.top:.0f} %",
        str(one.unknown),
        terminal.percent(one.value),
        terminal.NONE if one.number is None else str(one.number),
    )
