"""Draws a contact sheet of the demo faces."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fer_tune.data.demo import demo_faces
from fer_tune.data.fer2013 import EMOTIONS, SIDE


def contact_sheet(path: Path, columns: int = 12, rows: int = 1, enlarge: int = 2) -> None:
    """Writes a PNG with `rows` rows of demo faces for each emotion, a name above them."""
    faces = demo_faces()
    side, title = SIDE * enlarge, 16
    block = title + rows * side
    sheet = Image.new("L", (columns * side, len(EMOTIONS) * block), 255)
    pen = ImageDraw.Draw(sheet)
    for label, name in enumerate(EMOTIONS):
        top = label * block
        pen.text((4, top + 2), name, fill=0)
        for place, index in enumerate(np.flatnonzero(faces.labels == label)[: rows * columns].tolist()):
            tile = Image.fromarray(faces.images[index]).resize((side, side), Image.Resampling.BICUBIC)
            sheet.paste(tile, (place % columns * side, top + title + place // columns * side))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


if __name__ == "__main__":
    contact_sheet(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-faces.png"))
