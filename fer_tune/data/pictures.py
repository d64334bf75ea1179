"""Images to predict: files, folders, patterns, and the competition's CSV files without labels."""

from __future__ import annotations

import csv
import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_tune.data.containers import damaged, printable
from fer_tune.data.csvfile import LONGEST, PIXELS, columns
from fer_tune.data.dataset import Images
from fer_tune.data.faces import Faces, Remark, read_face
from fer_tune.data.fer2013 import SIDE
from fer_tune.data.images import is_image, resized
from fer_tune.errors import DataError

MOST = 1_000_000
"""Images that are predicted at once."""

FLAT = 4.0
"""An image whose pixels deviate by less than this, in 0..255, shows nothing."""

NAMED = 3
"""Images that a note names. It counts the others."""


@dataclass(frozen=True)
class Pictures:
    """Images to predict.

    Attributes:
        names: of files, or the `id` of a row. Rows without one are numbered from 0, through all CSV
            files.
        images: uint8 [N, S, S], or [N, S, S, 3] in colour.
        notes: what was done to them, which do not look like a cropped face, which files were
            skipped because they are not readable, and how rows of several files are numbered; one
            sentence each.
    """

    names: tuple[str, ...]
    images: Images
    notes: tuple[str, ...] = ()


def read_pictures(given: Sequence[Path], side: int, channels: int, faces: Faces = "auto") -> Pictures:
    """Reads images of any kind. An image file that is not readable is skipped with a note.

    Args:
        given: image files, folders of them, patterns such as `*.png`, or CSV files with a column
            `pixels`.
        side, channels: what the model takes.
        faces: whether photographs are cropped to a face; see `faces.read_face`.

    Raises:
        DataError: something does not exist, no image is readable, or a CSV file is not.
    """
    names, images, remarks, skipped = [], [], dict[Remark, list[str]](), list[DataError]()
    numbered: dict[Path, int] = {}
    for path in expanded(given):
        if _is_csv(path):
            ids, pixels = _read_csv(path)
            if ids is None:
                first = sum(numbered.values())
                ids = [str(first + row) for row in range(len(pixels))]
                numbered[path] = len(pixels)
            names += ids
            images.append(pixels if (side, channels) == (SIDE, 1) else resized(pixels, side, channels))
        else:
            try:
                image, remark = read_face(path, side, channels, faces)
            except DataError as error:
                if not path.is_file():
                    raise
                skipped.append(error)
                continue
            names.append(str(path))
            images.append(image[None])
            if remark is not None:
                remarks.setdefault(remark, []).append(str(path))
        if len(names) > MOST:
            raise DataError(f"There are more than {MOST:,} images.", "Predict them in several calls.")
    if not images:
        if skipped:
            raise skipped[0]
        raise DataError("There is no image to predict.", "Name image files, a folder of them, or a CSV file.")
    together = np.concatenate(images)
    if flat := [name for name, image in zip(names, together, strict=True) if image.std() < FLAT]:
        remarks[Remark.FLAT] = flat
    said = [f"{_listed(some)}: {remark.of(len(some))}" for remark, some in remarks.items()]
    notes = [*(f"skipped: {error.message}" for error in skipped), *said]
    if len(numbered) > 1:
        files = _listed([str(path) for path in numbered])
        notes.insert(0, f"rows without an id are numbered through these files, in this order: {files}")
    return Pictures(tuple(names), together, tuple(notes))


def _listed(names: Sequence[str]) -> str:
    """Returns the names of images for a note, or the first few of many."""
    first = ", ".join(printable(name) for name in names[:NAMED])
    return first if len(names) <= NAMED else f"{first} and {len(names) - NAMED:,} more"


def expanded(given: Iterable[Path]) -> list[Path]:
    """Returns the files that are meant by files, folders and patterns, each once.

    Raises:
        DataError: a folder has no image, or no file matches a pattern.
    """
    found: dict[Path, None] = {}
    for path in given:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and is_image(file.name))
            if not inside:
                raise DataError(f"{printable(str(path))}: this folder has no image", "Images are jpg, png, bmp, webp.")
            found.update(dict.fromkeys(inside))
        elif not path.exists() and glob.has_magic(str(path)):
            matching = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
            files = [file for file in matching if file.is_file() and (is_image(file.name) or _is_csv(file))]
            if not files:
                raise DataError(
                    f"{printable(str(path))}: no image matches this pattern",
                    "It finds jpg, png, bmp, webp and csv files, and `**` also those in folders below.",
                )
            found.update(dict.fromkeys(files))
        else:
            found[path] = None
    return list(found)


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _read_csv(path: Path) -> tuple[list[str] | None, Images]:
    """Reads the column `pixels` of a CSV file, and its column `id` if there is one."""
    where = printable(str(path))
    if not path.is_file():
        raise DataError(f"{where}: there is no such file", "Name a CSV file with a column `pixels`.")
    ids, images = list[str](), list[Images]()
    with damaged(where), path.open("rb") as stream:
        names = columns(stream.readline(LONGEST))
        if "pixels" not in names:
            raise DataError(f"{where}: no column 'pixels' in its first line", "Expected: pixels, as in test.csv.")
        pixels, id = names.index("pixels"), names.index("id") if "id" in names else None
        lines = (line.decode("utf-8", errors="replace") for line in stream if not line.isspace())
        try:
            for fields in csv.reader(lines, strict=True):
                at = f"{where}, row {len(images) + 1}"
                if len(fields) != len(names):
                    raise DataError(f"{at}: {len(fields)} fields instead of {len(names)}")
                if id is not None:
                    ids.append(fields[id].strip())
                images.append(_pixels(fields[pixels], at))
        except csv.Error as error:
            said = f"{where}, row {len(images) + 1}: {error}"
            raise DataError(said, "Perhaps a quote is missing there, or one too many.") from error
    if not images:
        raise DataError(f"{where}: it has no row", "Expected a row for each image.")
    return None if id is None else ids, np.stack(images)


def _pixels(text: str, at: str) -> Images:
    words = text.split()
    if len(words) != PIXELS or not all(word.isascii() and word.isdigit() and len(word) <= 3 for word in words):
        raise DataError(f"{at}: not {PIXELS:,} pixel values in 0..255", "Perhaps the file was cut off.")
    values = np.array(words, np.int64)
    if values.max() > 255:
        raise DataError(f"{at}: a pixel value is above 255")
    return values.astype(np.uint8).reshape(SIDE, SIDE)
