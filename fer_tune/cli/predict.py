"""`fer-tune predict`: the class of each image file, by a model that `retrain` left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fer_tune.cli.options import AsJson
from fer_tune.data.containers import printable
from fer_tune.display import terminal

Tta = Annotated[
    Literal["none", "flip"], typer.Option("--tta", help="flip: average over each image and its mirror image.")
]


def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that retrain left.")],
    image: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Files: jpg, png, bmp, webp.")],
    tta: Tta = "none",
    json: AsJson = False,
) -> None:
    """Print the class of each image, with probabilities."""
    import numpy as np

    from fer_tune.data.images import read_image
    from fer_tune.train.export import Predictor

    predictor = Predictor.load(folder)
    spec = predictor.spec
    images = np.stack([read_image(path, spec.side, spec.channels) for path in image])
    probabilities = predictor.predict(images, flip=tta == "flip").tolist()
    ranked = [sorted(zip(row, spec.classes, strict=True), reverse=True) for row in probabilities]
    if json:
        answers = [
            {"image": path, "class": row[0][1], "probabilities": {name: of for of, name in row}}
            for path, row in zip(image, ranked, strict=True)
        ]
        terminal.print_json(answers)
        return
    table = terminal.table()
    for heading in ("image", "class", "", "then"):
        table.add_column(heading, overflow="fold", justify="right" if not heading else "left")
    for path, row in zip(image, ranked, strict=True):
        others = ", ".join(f"{name} {of:.0%}" for of, name in row[1:3])
        table.add_row(printable(str(path)), row[0][1], f"{row[0][0]:.0%}", others)
    terminal.console().print(table)
