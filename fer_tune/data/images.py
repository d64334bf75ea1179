"""One image file as pixels: upright, the middle square, resized, in grey or in colour."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fer_tune.data.containers import damaged, printable
from fer_tune.data.dataset import Images
from fer_tune.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
"""Endings of the names of image files."""

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
"""What Pillow may try. Its other readers are many, old, and not needed."""

LARGEST_FILE = 32 << 20
"""Bytes in one image file."""

LARGEST_SIDE = 8192
"""Pixels along one side of an image file, checked before it is decoded."""

LARGEST_AREA = 16_000_000
"""Pixels of an image file, checked before decoding. Pillow needs up to eight bytes for each."""

MARGIN = 2
"""A JPEG may be decoded at a fraction of its size if a side keeps this multiple of what is needed.

So a photograph of a modern camera passes, although it has more pixels than `LARGEST_AREA`."""

MODES = {1: "L", 3: "RGB"}
"""Pillow's name for images with so many channels."""


@dataclass(frozen=True)
class Format:
    """How a file stored its image, in Pillow's words."""

    size: tuple[int, int]
    mode: str


def is_image(name: str) -> bool:
    """Returns whether a file's name says that it is an image."""
    return name.lower().endswith(SUFFIXES)


def read_image(path: Path, side: int, channels: int) -> Images:
    """Reads one file as an image of a data set: uint8 [S, S], or [S, S, 3] in colour.

    Raises:
        DataError: the file does not exist, or is not a readable image.
    """
    where = printable(str(path))
    if not path.is_file():
        raise DataError(f"{where}: there is no such file", "Name an image file, such as face.png.")
    with damaged(where), path.open("rb") as stream:
        return decode(stream, where, side, channels)[0]


def decode(stream: IO[bytes], where: str, side: int, channels: int) -> tuple[Images, Format]:
    """Reads an image from a stream, and says how it was stored. `where` names the file in messages.

    Raises:
        DataError: it is too large, or not a readable image.
    """
    data = stream.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise DataError(f"{where}: larger than {LARGEST_FILE >> 20} MiB, too large for an image")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            stored = Format(image.size, image.mode)
            if max(image.size) > LARGEST_SIDE:
                raise DataError(f"{where}: {image.width}×{image.height} pixels, more than {LARGEST_SIDE} along a side")
            if image.width * image.height > LARGEST_AREA:
                _shrink(image, where, side)
            image.load()
            return np.asarray(_convert(image, side, channels)), stored
    except DataError:
        raise
    except UnidentifiedImageError as error:  # its text names an object of ours
        formats = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise DataError(f"{where}: not a readable image of {formats}", "Convert, replace or remove it.") from error
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, struct.error and more
        raise DataError(f"{where}: not a readable image ({error})", "Replace or remove it.") from error


def _shrink(image: Image.Image, where: str, side: int) -> None:
    """Lets a large JPEG be decoded at a half, a quarter or an eighth of its size.

    Raises:
        DataError: it is still too large, or it is another format, which can only be decoded whole.
    """
    size = f"{image.width}×{image.height}"
    image.draft(None, (MARGIN * side, MARGIN * side))
    if image.width * image.height > LARGEST_AREA:
        raise DataError(f"{where}: {size} pixels, more than {LARGEST_AREA / 1e6:.0f} million", "Make it smaller.")


def resized(images: Images, side: int, channels: int) -> Images:
    """Returns a data set's images with another side or number of channels."""
    return np.stack([np.asarray(_convert(Image.fromarray(image), side, channels)) for image in images])


def _convert(image: Image.Image, side: int, channels: int) -> Image.Image:
    mode = MODES[channels]
    if image.mode == mode and image.size == (side, side):
        return image
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip at 255
        upright = Image.fromarray((np.asarray(upright, np.float64) / 257).clip(0, 255).round().astype(np.uint8))
    return ImageOps.fit(upright.convert(mode), (side, side), Image.Resampling.LANCZOS)
