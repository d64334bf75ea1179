"""Reading the database: best, trials, studies."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fer_tune.cli.options import AsJson, Storage, StudyName, only_one, open_store, study_name
from fer_tune.display import terminal
from fer_tune.display.columns import Column

if TYPE_CHECKING:
    from fer_tune.store import StudyRecord
    from fer_tune.study import TrialSummary

DETAIL_LINES = 12
"""Of a failed trial's traceback or log."""

REMARK = 16
"""Columns that a remark can be folded to."""

NAME_WIDTH = 22
TRIAL_WIDTH = 13
"""Columns that the names and each trial take in the table of `best`."""


def best(
    study: StudyName = None,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="How many of the best trials.")] = 1,
    json: AsJson = False,
    storage: Storage = None,
) -> None:
    """Show the best trials of a study, and what they were trained with."""
    with open_store(storage) as store:
        from fer_tune.study import ranking

        record = store.studies.get(study_name(store, study))
        ranked = ranking(store, record.name, top)
    if json:
        head = {"study": record.name, "family": record.family, "objective": record.objective}
        terminal.print_json(head | {"trials": [_flat(trial) for trial in ranked]})
    else:
        _show_best(record, ranked)
    if not ranked:
        terminal.note(f"No trial of {record.name} has completed yet.")
        raise typer.Exit(3)


def _show_best(record: StudyRecord, ranked: Sequence[TrialSummary]) -> None:
    """A table with a column for each trial, broken into as many tables as the width asks for."""
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


def trials(  # noqa: PLR0917 - options
    study: StudyName = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed ones, and how each ended.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: AsJson = False,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write a Parquet file.", show_default=False)
    ] = None,
    storage: Storage = None,
) -> None:
    """List all trials of a study."""
    only_one(csv=as_csv, json=json, parquet=parquet is not None)
    with open_store(storage) as store:
        from fer_tune.study import trials as read_trials

        name = study_name(store, study)
        found = [trial for trial in read_trials(store, name) if trial.state == "failed" or not failed]
        details = {attempt.number: attempt.detail for attempt in store.jobs.attempts(name)} if failed else {}
    if json:
        terminal.print_json([_flat(trial) for trial in found])
    elif as_csv:
        _print_csv(found)
    elif parquet is not None:
        from fer_tune.report.tables import write_parquet

        write_parquet(found, parquet)
        terminal.note(f"{len(found)} trials of {name}: {parquet}")
    else:
        _show_trials(name, found)
        _show_details({trial.number: details.get(trial.number, "") for trial in found})


def _show_trials(study: str, found: Sequence[TrialSummary]) -> None:
    out = terminal.console()
    columns = [
        Column("trial", right=True),
        Column("state"),
        Column("value", right=True),
        Column("epochs", right=True, drop=1),
        Column("best", right=True, drop=3),
        Column("time", right=True, drop=2),
        Column("start, reason", least=REMARK),
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
    out.print(terminal.fitting(columns, rows, out.width))


def _show_details(details: dict[int, str]) -> None:
    """The end of each trial's traceback or log, where there is one."""
    out = terminal.console()
    for number, detail in details.items():
        if detail:
            terminal.line(out, (f"trial {number}", "bold"))
            for text in detail.splitlines()[-DETAIL_LINES:]:
                terminal.line(out, f"  {text}")


def _print_csv(found: Sequence[TrialSummary]) -> None:
    """One row a trial, with the columns of `fer_tune.load_trials`."""
    from fer_tune.report.tables import trial_rows

    rows = [terminal.plain(row) for row in trial_rows(found)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _flat(trial: TrialSummary) -> dict[str, Any]:
    return asdict(trial) | {"seconds": trial.seconds}


def studies(json: AsJson = False, storage: Storage = None) -> None:
    """List the studies."""
    with open_store(storage) as store:
        from fer_tune.study import summaries

        found = summaries(store)
    if json:
        terminal.print_json(
            [
                {
                    "name": study.name,
                    "family": study.record.family,
                    "objective": study.record.objective,
                    "data": study.record.data_source,
                    "data_signature": study.record.data_signature,
                    "split_hash": study.record.split.hash,
                    "created": study.record.created,
                    "counts": asdict(study.counts),
                    "best": _flat(study.best) if study.best else None,
                }
                for study in found
            ]
        )
        return
    out = terminal.console()
    columns = [
        Column("study", least=NAME_WIDTH),
        Column("family", drop=1),
        *(Column(heading, right=True) for heading in ("done", "pruned", "failed")),
        Column("running", right=True, drop=2),
        Column("best", right=True),
        Column("created", drop=3),
    ]
    rows = [
        (
            study.name,
            study.record.family,
            *(str(getattr(study.counts, state)) for state in ("complete", "pruned", "failed", "running")),
            terminal.percent(study.best.value) if study.best else terminal.NONE,
            f"{study.record.created.astimezone():%Y-%m-%d}",
        )
        for study in found
    ]
    out.print(terminal.fitting(columns, rows, out.width))
