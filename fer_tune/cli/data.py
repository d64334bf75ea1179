"""`fer-tune data`: counts what is in a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fer_tune import api
from fer_tune.cli.options import AsJson
from fer_tune.data.fer2013 import SIDE
from fer_tune.display import terminal
from fer_tune.display.terminal import many

HEADINGS = {
    "blank": "blank images",
    "conflict": "copies with different labels",
    "copy": "copies",
    "near copy": "near copies",
}

if TYPE_CHECKING:
    from fer_tune.data.audit import Audit


EXAMPLES = ("fer-tune data demo", "fer-tune data faces/ --list", "fer-tune data faces/ --side 64 --channels 3")


def data(
    source: Annotated[str, typer.Argument(metavar="SRC", help="fer2013, demo, or a path.")],
    side: Annotated[int, typer.Option("--side", metavar="PIXELS", help="Resize the images to this side.")] = SIDE,
    channels: Annotated[int, typer.Option("--channels", metavar="1|3", help="1 is grey, 3 is colour.")] = 1,
    every: Annotated[
        bool, typer.Option("--list", help="Name the blank images, the conflicting ones, and all copies.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Count a data set's classes, blanks and copies, and what a plain split would leak.

    --list and --json also name the files of blank images and copies.
    """
    found = api.audit_data(source, side=side, channels=channels, note=terminal.note)
    if json:
        terminal.print_json(found.as_dict())
        return
    _show(terminal.console(), found)
    if every:
        _list(terminal.console(), found)


def _show(out: Console, found: Audit) -> None:
    size = f"{found.width}×{found.height}" + (" in colour" if found.channels == 3 else "")
    counted = f": {many(found.images, 'image')} of {size}, {len(found.classes)} classes"
    terminal.line(out, (found.source, "bold"), counted)
    parts = found.usage or {}
    table = terminal.table()
    table.add_column("class")
    for heading in ("images", "share", *parts):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, count in found.classes.items():
        share = f"{100 * count / max(1, found.images):.1f} %"
        table.add_row(name, f"{count:,}", share, *(f"{part[name]:,}" for part in parts.values()))
    out.print(table)
    for heading, told in _facts(found).items():
        terminal.line(out, f"{heading:<21}", told)
    for note in found.notes:
        terminal.line(out, f"note: {note}")


def _list(out: Console, found: Audit) -> None:
    """Prints the name and the class of each image that somebody should look at."""
    if not found.doubtful:
        terminal.line(out, "No image is blank, and none is a copy of another one.")
    for number, group in enumerate(found.doubtful, 1):
        terminal.line(out, (f"{number}. {HEADINGS[group.kind]}", "bold"))
        for name, label in group.images.items():
            terminal.line(out, f"  {name}  ({label})")


def _facts(found: Audit) -> dict[str, str]:
    """Returns what is wrong with the data set, and its signature."""
    facts = {
        "blank images": f"{found.blank:,}",
        "exact copies": f"{found.exact_redundant:,} beyond the first, in {many(found.exact_groups, 'group')}",
        "with near copies": f"{found.near_redundant:,} beyond the first, in {many(found.near_groups, 'group')}",
        "conflicting labels": f"{many(found.conflicting_images, 'image')} in {many(found.conflicting_groups, 'group')}",
    }
    if found.leak:
        leaked = f"{found.leak.leaked:,} of {found.leak.val:,} validation images ({100 * found.leak.fraction:.1f} %)"
        facts["a plain split leaks"] = f"{leaked} have a copy in training"
    return facts | {"signature": found.signature}
