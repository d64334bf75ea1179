"""`fer-tune predict`: the class of each image file, by a model that `retrain` left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_tune import api
from fer_tune.cli.options import AsJson
from fer_tune.data.containers import printable
from fer_tune.display import terminal
from fer_tune.job import Tta

TtaOption = Annotated[
    Tta, typer.Option("--tta", help="Average over views of an image: flip is its mirror image, crops ten crops.")
]


def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that retrain left.")],
    image: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Files: jpg, png, bmp, webp.")],
    tta: TtaOption = "none",
    json: AsJson = False,
) -> None:
    """Print the class of each image, with probabilities."""
    found = api.predict(folder, image, tta=tta)
    if json:
        answers = [
            {"image": path, "class": next(iter(row)), "probabilities": row}
            for path, row in zip(image, found, strict=True)
        ]
        terminal.print_json(answers)
        return
    table = terminal.table()
    for heading in ("image", "class", "", "then"):
        table.add_column(heading, overflow="fold", justify="right" if not heading else "left")
    for path, row in zip(image, found, strict=True):
        (first, probability), *others = row.items()
        then = ", ".join(f"{name} {of:.0%}" for name, of in others[:2])
        table.add_row(printable(str(path)), first, f"{probability:.0%}", then)
    terminal.console().print(table)
