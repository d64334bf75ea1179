"""A contact sheet: small pictures with what a model says of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from fer_tune.errors import DataError
from fer_tune.files import replace_file

EDGE = 112
"""Pixels of a picture's side."""

LINE = 16
"""Pixels of a line of text. There are two below each picture."""

COLUMNS = 8

MOST = 800
"""Pictures on a sheet."""


def write_sheet(path: Path, images: Any, captions: Sequence[tuple[str, str]]) -> Path:
    """Writes a PNG file, and returns its path.

    Args:
        images: uint8 [N, S, S] or [N, S, S, 3].
        captions: two short lines for each image.

    Raises:
        DataError: there are too many images.
        StorageError: the file cannot be written.
    """
    refuse_many(len(images))
    columns = min(COLUMNS, len(images))
    width, height = columns * (EDGE + 8) + 8, math.ceil(len(images) / columns) * (EDGE + 2 * LINE + 8) + 8
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for place, (image, lines) in enumerate(zip(images, captions, strict=True)):
        left, top = 8 + place % columns * (EDGE + 8), 8 + place // columns * (EDGE + 2 * LINE + 8)
        picture = Image.fromarray(image).convert("RGB").resize((EDGE, EDGE), Image.Resampling.BICUBIC)
        sheet.paste(picture, (left, top))
        for line, text in enumerate(lines):
            draw.text((left, top + EDGE + line * LINE), _short(text), fill="black", font=font)
    replace_file(path, lambda stream: sheet.save(stream, "PNG", optimize=True))
    return path


def refuse_many(count: int) -> None:
    """Raises DataError if a sheet does not have room for so many images."""
    if count > MOST:
        raise DataError(
            f"A contact sheet has room for {MOST} images, not {count:,}.",
            "Predict fewer at once, or predict them without the sheet.",
        )


def _short(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable if len(printable) <= 18 else f"…{printable[-17:]}"
