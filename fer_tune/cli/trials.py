"""`fer-tune trials`: all trials of a study, as a table or a file."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fer_tune import api
from fer_tune.cli.options import AsJson, Storage, StudyArgument, StudyName, one_study, only_one
from fer_tune.display import terminal
from fer_tune.display.terminal import Column

if TYPE_CHECKING:
    from fer_tune.study import TrialSummary

DETAIL_LINES = 12
"""Lines that are shown of a failed trial's traceback or log."""


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Beginnings of a cell that spreadsheets take for a formula. Numbers are not texts here."""


EXAMPLES = ("fer-tune trials resnet", "fer-tune trials resnet --failed", "fer-tune trials resnet --csv > trials.csv")


def trials(  # noqa: PLR0917 - options
    study: StudyArgument = None,
    named: StudyName = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed trials, and how they ended.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: AsJson = False,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write a Parquet file.", show_default=False)
    ] = None,
    storage: Storage = None,
) -> None:
    """List all trials of a study."""
    only_one(csv=as_csv, json=json, parquet=parquet is not None)
    name = api.find_study(one_study(study, named), storage=storage).name
    if parquet is not None:
        terminal.note(f"The trials of {name} are in {api.write_parquet(parquet, name, storage=storage)}.")
        return
    found = [one for one in api.trials(name, storage=storage) if one.state == "failed" or not failed]
    if json:
        terminal.print_json([trial.as_dict() for trial in found])
    elif as_csv:
        _print_csv(found)
    elif failed and not found:
        terminal.note(f"No trial of {name} has failed.")
    else:
        _show(name, found)
        if failed:
            details = api.failures(name, storage=storage)
            _show_details({trial.number: details.get(trial.number, "") for trial in found})


def _show(study: str, found: Sequence[TrialSummary]) -> None:
    out = terminal.console()
    columns = [
        Column("trial", right=True),
        Column("state"),
        Column("value", right=True),
        Column("epochs", right=True, needs=60),
        Column("best epoch", right=True, needs=78),
        Column("time", right=True, needs=66),
        Column("start, reason", folds=True),
    ]
    rows = [
        (
            str(trial.number),
            terminal.state(trial.state),
            terminal.percent(trial.value),
            str(trial.epochs),
            terminal.NONE if trial.best_epoch is None else str(trial.best_epoch),
            terminal.duration(trial.seconds),
            " · ".join(filter(None, (trial.name, trial.attrs.get("reason")))),
        )
        for trial in found
    ]
    terminal.line(out, (study, "bold"))
    out.print(terminal.listing(columns, rows, out.width))


def _show_details(details: dict[int, str]) -> None:
    """Prints the end of each trial's traceback or log."""
    out = terminal.console()
    for number, detail in details.items():
        if detail:
            terminal.line(out, (f"trial {number}", "bold"))
            for text in detail.splitlines()[-DETAIL_LINES:]:
                terminal.line(out, f"  {text}")


def _print_csv(found: Sequence[TrialSummary]) -> None:
    """Prints one row for each trial, with the columns of `fer_tune.load_trials`."""
    from fer_tune.report.tables import trial_rows

    rows = [{_cell(name): _cell(value) for name, value in terminal.plain(row).items()} for row in trial_rows(found)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _cell(value: Any) -> Any:
    """Returns a value for CSV. A text that is a formula to a spreadsheet gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
