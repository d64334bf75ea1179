"""`fer-tune data`: what is in a data set."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fer_tune.cli import show
from fer_tune.cli.options import AsJson
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.data.audit import Audit


def data(
    source: Annotated[str, typer.Argument(metavar="SRC", help="fer2013, demo, or a path.")],
    json: AsJson = False,
) -> None:
    """Count a data set's classes, blanks and copies, and what a plain split would leak."""
    from fer_tune.data.audit import audit
    from fer_tune.data.load import load_faces

    settings = Settings.from_environment()
    found = audit(load_faces(source, settings, show.note), settings)
    if json:
        show.print_json(asdict(found))
    else:
        _show(show.console(), found)


def _show(out: Console, found: Audit) -> None:
    show.line(out, (found.source, "bold"), f": {found.images:,} images of {found.side}×{found.side}")
    parts = found.usage or {}
    table = show.table()
    table.add_column("class")
    for heading in ("images", "share", *parts):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, count in found.classes.items():
        share = f"{count / max(1, found.images):.1%}"
        table.add_row(name, f"{count:,}", share, *(f"{part[name]:,}" for part in parts.values()))
    out.print(table)
    show.line(out, f"blank images       {found.blank:,}")
    show.line(out, f"copies             {found.copies:,} ({found.exact_copies:,} of them pixel for pixel)")
    show.line(out, f"groups of copies   {found.groups:,}, {found.conflicts:,} of them with different labels")
    if found.leaked is not None and found.validation:
        share = f"{found.leaked / found.validation:.1%}"
        told = f"{found.leaked:,} of {found.validation:,} validation images ({share}) have a copy in training"
        show.line(out, f"a plain split      {told}")
    for note in found.notes:
        show.line(out, f"note: {note}")
    show.line(out, f"signature          {found.signature}")
