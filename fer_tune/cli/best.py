"""`fer-tune best`: the best trials of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from fer_tune import api
from fer_tune.api.for_commands import beside_start
from fer_tune.cli.options import NOTHING_COMPLETED, AsJson, Storage, StudyArgument, StudyName, one_study, only_one
from fer_tune.cli.standings import as_dict, conclusions, mark, say, show_meter
from fer_tune.display import terminal

if TYPE_CHECKING:
    from fer_tune.store import StudyRecord
    from fer_tune.study.baseline import Gain
    from fer_tune.study.standings import Standing, Standings

NAME_WIDTH = 22
"""Cells of the column with the names."""

TRIAL_WIDTH = 13
"""Cells of a trial's column."""


EXAMPLES = (
    "fer-tune best resnet",
    "fer-tune best resnet --top 5",
    "fer-tune best resnet --yaml",
    "fer-tune best resnet --rule one_se --json",
)


def best(  # noqa: PLR0917 - options
    study: StudyArgument = None,
    named: StudyName = None,
    top: Annotated[int, typer.Option("--top", min=1, metavar="K", help="Number of trials.")] = 1,
    rule: Annotated[
        Literal["max", "one_se"],
        typer.Option(
            "--rule", metavar="max|one_se", help="one_se: the cheapest trial within one standard error of the best."
        ),
    ] = "max",
    json: AsJson = False,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print the trials as entries of `start:` in a sweep.")] = False,
    storage: Storage = None,
) -> None:
    """Show the best trials of a study, how sure their order is, and their hyperparameters."""
    record = api.find_study(one_study(study, named), storage=storage)
    only_one(json=json, yaml=yaml)
    found = api.standings(record.name, top, rule=rule, storage=storage)
    chosen = found.chosen
    gained = None if chosen is None else api.gain(record.name, chosen.trial.number, storage=storage)
    if json:
        over = None if gained is None else asdict(gained) | {"start": gained.start.number, "tied": gained.tied}
        terminal.print_json({"family": record.family} | as_dict(found, top) | {"gain": over})
    elif yaml:
        _print_yaml(record, found, top)
    else:
        _show(record, found, top, gained, storage)
    if not found.ranked:
        terminal.note(f"No trial of {record.name} has completed yet.")
        raise typer.Exit(NOTHING_COMPLETED)


def _print_yaml(record: StudyRecord, found: Standings, top: int) -> None:
    """Prints trials as a sweep's `start:` has them: what the study searched, with all digits."""
    from fer_tune.sweep.start import entry
    from fer_tune.sweep.yaml_nodes import dump

    entries = [
        entry(f"trial {one.trial.number} of {record.name}", one.trial.params, record.sweep_json["space"])
        for one in found.listed(top)
    ]
    print(dump({"start": entries}, flow=False), end="")


def _show(record: StudyRecord, found: Standings, top: int, gained: Gain | None, storage: str | None) -> None:
    """Prints a table with a column for each trial. A narrow terminal gets several tables."""
    out = terminal.console()
    terminal.line(out, (record.name, "bold"), f": {terminal.family(record.family)}, best {record.objective}")
    at_once = max(1, (out.width - NAME_WIDTH) // TRIAL_WIDTH)
    listed = found.listed(top)
    for start in range(0, len(listed), at_once):
        if start:
            out.print()
        _show_columns(out, found, listed[start : start + at_once])
    beside = beside_start(record.name, gained, storage=storage) if listed else ""
    say(out, [*([beside] if beside else []), *conclusions(found)])
    if listed:
        show_meter(out, api.overtuning(record.name, listed[0].trial.number, storage=storage))


def _show_columns(out: Console, found: Standings, some: Sequence[Standing]) -> None:
    table = terminal.table()
    table.add_column("")
    for one in some:
        place, number = found.ranked.index(one) + 1, one.trial.number
        table.add_column(f"{place}. trial {number}" if place > 1 else f"trial {number}", overflow="fold")
    for name, cells in _facts(found, some).items():
        table.add_row(name, *cells, style="bold" if name in ("value", "confirmed mean") else "")
    table.add_section()
    for name in dict.fromkeys(name for one in some for name in one.trial.params):
        table.add_row(name, *(terminal.value(one.trial.params.get(name)) for one in some))
    out.print(table)


def _facts(found: Standings, some: Sequence[Standing]) -> dict[str, list[str]]:
    """Returns the rows above the hyperparameters, by name."""
    facts = {
        "value": [terminal.percent(one.trial.value) for one in some],
        "± standard error": [terminal.percent(one.error) for one in some],
    }
    if found.confirmations is not None:
        places = [one.confirmed for one in some]
        facts["confirmed mean"] = [terminal.percent(place.mean if place else None) for place in places]
        facts["± standard error "] = [terminal.percent(place.error if place else None) for place in places]
        facts["seeds"] = [str(len(place.values)) if place else terminal.NONE for place in places]
    if len(some) > 1 or some[0] is not found.ranked[0]:
        facts["beside the leader"] = [mark(found, one) for one in some]
    return facts | {
        "best epoch": [f"{one.trial.best_epoch} of {one.trial.epochs}" for one in some],
        "time": [terminal.duration(one.trial.trained) for one in some],
        "start": [one.trial.name or terminal.NONE for one in some],
    }
