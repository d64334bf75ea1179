"""`fer-tune predict`: the class of each image, by a model or an ensemble."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fer_tune import api
from fer_tune.cli.options import AsJson
from fer_tune.display import terminal
from fer_tune.job import Tta

if TYPE_CHECKING:
    from fer_tune.sources.predict import Prediction

TtaOption = Annotated[
    Tta,
    typer.Option(
        "--tta",
        metavar="none|flip|crops",
        help="Average over views of an image: flip is its mirror image, crops ten crops.",
    ),
]

LISTED = 50
"""Predictions that are listed. Of more, the classes are counted."""


EXAMPLES = ("fer-tune predict models/resnet face.png", "fer-tune predict models/resnet faces/ --tta flip --json")


def predict(  # noqa: PLR0917 - options
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that retrain or ensemble left.")],
    image: Annotated[
        list[str],  # a Path of an empty text would be the current folder
        typer.Argument(metavar="IMAGE...", help="Image files, folders, patterns, or CSV files with `pixels`."),
    ],
    tta: TtaOption = "none",
    faces: Annotated[
        Literal["auto", "on", "off"],
        typer.Option(
            "--faces",
            metavar="auto|on|off",
            help="Crop photographs to the face: where a detector is installed, always, or never.",
        ),
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Write id,emotion, as the competition takes it.", show_default=False
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", metavar="PNG", help="Write a contact sheet of up to 800 images.", show_default=False),
    ] = None,
    json: AsJson = False,
) -> None:
    """Print the class of each image, with probabilities."""
    found = api.predict(folder, image, tta=tta, faces=faces, submission=out, sheet=sheet, note=terminal.note)
    if json:
        rows = [{"image": one.image, "class": one.label, "probabilities": one.probabilities} for one in found]
        terminal.print_json(rows)
    elif len(found) <= LISTED:
        _list(found)
    else:
        _count(found)
    for file in (out, sheet):
        if file is not None and not json:
            terminal.line(terminal.console(), "written: ", (str(file), "bold"))


def _list(found: Sequence[Prediction]) -> None:
    table = terminal.table()
    for heading in ("image", "class", "", "then"):
        table.add_column(heading, overflow="fold", justify="right" if not heading else "left")
    for one in found:
        (first, probability), *others = one.probabilities.items()
        then = ", ".join(f"{name} {100 * of:.0f} %" for name, of in others[:2])
        table.add_row(one.image, first, f"{100 * probability:.0f} %", then)
    terminal.console().print(table)


def _count(found: Sequence[Prediction]) -> None:
    table = terminal.table(terminal.many(len(found), "image"))
    for heading in ("class", "images"):
        table.add_column(heading, justify="right" if heading == "images" else "left")
    for name, count in Counter(one.label for one in found).most_common():
        table.add_row(name, f"{count:,}")
    terminal.console().print(table)
    terminal.note("--json, or --out FILE, has the class of each image.")
