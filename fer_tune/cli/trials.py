"""`fer-tune trials`: all trials of a study, as a table or a file."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len
from rich.text import Text

from fer_tune import api
from fer_tune.cli.options import AsJson, Storage, StudyArgument, StudyName, one_study, only_one
from fer_tune.display import terminal
from fer_tune.display.lines_of_table import GAP, Cells, lines_of_table
from fer_tune.job import by_pruner

if TYPE_CHECKING:
    from fer_tune.study import TrialSummary

DETAIL_LINES = 12
"""Lines that are shown of a failed trial's traceback or log."""

LAST = 24
"""Cells that the last column may keep from the hyperparameters."""

ASKED = 3
"""Hyperparameters that the example of --columns names."""

NUMBERS = ("trial", "value", "epochs", "best_epoch", "time")
TEXTS: dict[str, Callable[[TrialSummary], str]] = {
    "trial": lambda trial: str(trial.number),
    "state": lambda trial: trial.state,
    "value": lambda trial: terminal.percent(trial.value),
    "epochs": lambda trial: str(trial.epochs),
    "best_epoch": lambda trial: terminal.NONE if trial.best_epoch is None else str(trial.best_epoch),
    "time": lambda trial: terminal.duration(trial.trained),
    "start, reason": lambda trial: terminal.shown(" · ".join(filter(None, (trial.name, _reason(trial))))),
}
"""The columns that every trial has, and how they look."""


def _reason(trial: TrialSummary) -> str:
    """Returns why a trial ended, unless the search pruned it: state and epochs say that already."""
    reason = str(trial.attrs.get("reason") or "")
    return "" if by_pruner(trial.state, reason) else reason


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Beginnings of a cell that spreadsheets take for a formula. Numbers are not texts here."""


EXAMPLES = (
    "fer-tune trials resnet",
    "fer-tune trials resnet --sort value --where state=complete",
    'fer-tune trials --where "lr>0.01" --columns trial,value,lr,optimizer',
    "fer-tune trials resnet --failed",
    "fer-tune trials resnet --csv > trials.csv",
)


def trials(  # noqa: PLR0917 - options
    study: StudyArgument = None,
    named: StudyName = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="NAME",
            help="value: the best first. lr: from low to high. -lr: from high to low.",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help='Only such trials: "lr>0.01", optimizer=sgd, state!=failed. Repeatable.',
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="A,B",
            help="Which columns. Default: the hyperparameters that vary, as many as fit.",
            show_default=False,
        ),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed trials, and how they ended.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: AsJson = False,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write a Parquet file.", show_default=False)
    ] = None,
    storage: Storage = None,
) -> None:
    """List the trials of a study, with the hyperparameters that vary."""
    only_one(csv=as_csv, json=json, parquet=parquet is not None)
    only_one(columns=columns is not None, csv=as_csv, json=json, parquet=parquet is not None)
    name = api.find_study(one_study(study, named), storage=storage).name
    if parquet is not None:
        only_one(parquet=True, where=bool(where), sort=sort is not None, failed=failed)
        terminal.note(f"The trials of {name} are in {api.write_parquet(parquet, name, storage=storage)}.")
        return
    conditions = [*(where or ()), *(["state=failed"] if failed else [])]
    found = api.trials(name, where=conditions, sort=sort, storage=storage)
    if json:
        terminal.print_json([trial.as_dict() for trial in found])
    elif as_csv:
        _print_csv(found)
    elif conditions and not found:
        none = "has failed" if failed and not where else f"meets {' and '.join(conditions)}"
        terminal.note(f"No trial of {name} {none}.")
    else:
        _show(name, found, None if columns is None else _asked(columns, name, storage), hyperparameters=not failed)
        if failed:
            details = api.failures(name, storage=storage)
            _show_details({trial.number: details.get(trial.number, "") for trial in found})


def _asked(columns: str, study: str, storage: str | None) -> list[str]:
    """Returns the names that --columns gives. Trials that are not shown may be the only ones that
    have them.

    Raises:
        SettingsError: no trial of the study has a value of this name.
    """
    from fer_tune.study.picking import checked, names

    known = names(api.trials(study, storage=storage))
    return [checked(name.strip(), known) for name in columns.split(",")]


def _show(study: str, found: Sequence[TrialSummary], asked: list[str] | None, *, hyperparameters: bool) -> None:
    """Prints a table."""
    out = terminal.console()
    if asked is None:
        columns, missing = chosen(found, out.width, hyperparameters)
    else:
        columns, missing = [_column(name, found) for name in asked], []
    terminal.line(out, (study, "bold"))
    colours = [terminal.STYLES.get(trial.state, "") for trial in found]
    coloured = out.is_terminal and not out.no_color
    for text, style in lines_of_table(columns, out.width, colours):
        if coloured and style:
            terminal.line(out, (text, style))
        else:
            print(text)
    if missing:
        out.print(Text(how_to_see(missing), "dim"))


def how_to_see(missing: Sequence[str]) -> str:
    """Returns which hyperparameters vary and have no column, and the option that shows them."""
    some = terminal.many(len(missing), "more hyperparameter varies", "more hyperparameters vary")
    shows = "shows it" if len(missing) == 1 else "shows them" if len(missing) <= ASKED else "shows some"
    return f"{some}: {', '.join(missing)}. --columns trial,value,{','.join(missing[:ASKED])} {shows}."


def chosen(found: Sequence[TrialSummary], width: int, hyperparameters: bool) -> tuple[list[Cells], list[str]]:
    """Returns the columns that fit, and the names of hyperparameters that vary and do not fit."""
    from fer_tune.study.picking import varying

    columns = [_column(name, found) for name in (("trial", "state", "value") if width >= 30 else ("trial", "value"))]
    columns += [_column(name, found) for name, needs in (("epochs", 66), ("best_epoch", 100)) if width >= needs]
    columns += [_column("time", found)] if width >= 60 else []
    reasons = _column("start, reason", found)
    room = width - sum(column.width + GAP for column in columns)
    last = [reasons] if any(reasons.texts) and cell_len(reasons.heading) <= room else []
    room -= min(reasons.width, LAST) if last else 0
    shown, missing = [], []
    for name in varying(found) if hyperparameters else ():
        column = _column(name, found) if len(name) + GAP <= room else None
        if column is not None and column.width + GAP <= room:
            shown.append(column)
            room -= column.width + GAP
        else:
            missing.append(name)
    return [*columns, *shown, *last], missing


def _column(name: str, found: Sequence[TrialSummary]) -> Cells:
    """Returns a column of the table."""
    if name in TEXTS:
        return Cells(name.replace("_", " "), [TEXTS[name](trial) for trial in found], right=name in NUMBERS)
    from fer_tune.study.picking import value_of

    values = [value_of(trial, name) for trial in found]
    texts = [terminal.shown(terminal.value(value)) for value in values]
    return Cells(name, texts, right=all(isinstance(value, int | float | None) for value in values))


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
