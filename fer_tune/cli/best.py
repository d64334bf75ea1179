"""`fer-tune best`: the best trials of a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fer_tune import api
from fer_tune.cli.options import NOTHING_COMPLETED, AsJson, Storage, StudyName
from fer_tune.display import terminal

if TYPE_CHECKING:
    from fer_tune.store import StudyRecord
    from fer_tune.study import TrialSummary

NAME_WIDTH = 22
"""Cells of the column with the names."""

TRIAL_WIDTH = 13
"""Cells of a trial's column."""


def best(
    study: StudyName = None,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="Number of trials.")] = 1,
    json: AsJson = False,
    storage: Storage = None,
) -> None:
    """Show the best trials of a study and their hyperparameters."""
    record = api.find_study(study, storage=storage)
    ranked = api.best(record.name, top, storage=storage)
    if json:
        head = {"study": record.name, "family": record.family, "objective": record.objective}
        terminal.print_json(head | {"trials": [trial.as_dict() for trial in ranked]})
    else:
        _show(record, ranked)
    if not ranked:
        terminal.note(f"No trial of {record.name} has completed yet.")
        raise typer.Exit(NOTHING_COMPLETED)


def _show(record: StudyRecord, ranked: Sequence[TrialSummary]) -> None:
    """Prints a table with a column for each trial. A narrow terminal gets several tables."""
    out = terminal.console()
    terminal.line(out, (record.name, "bold"), f": {record.family}, best {record.objective}")
    at_once = max(1, (out.width - NAME_WIDTH) // TRIAL_WIDTH)
    for start in range(0, len(ranked), at_once):
        if start:
            out.print()
        _show_columns(out, ranked[start : start + at_once], start + 1)


def _show_columns(out: Console, some: Sequence[TrialSummary], rank: int) -> None:
    table = terminal.table()
    table.add_column("")
    for place, trial in enumerate(some, start=rank):
        table.add_column(f"{place}. trial {trial.number}" if place > 1 else f"trial {trial.number}", overflow="fold")
    facts = {
        "value": [terminal.percent(trial.value) for trial in some],
        "best epoch": [f"{trial.best_epoch} of {trial.epochs}" for trial in some],
        "time": [terminal.duration(trial.seconds) for trial in some],
        "start": [trial.name or terminal.NONE for trial in some],
    }
    for name, cells in facts.items():
        table.add_row(name, *cells, style="bold" if name == "value" else "")
    table.add_section()
    for name in dict.fromkeys(name for trial in some for name in trial.params):
        table.add_row(name, *(terminal.value(trial.params.get(name)) for trial in some))
    out.print(table)
