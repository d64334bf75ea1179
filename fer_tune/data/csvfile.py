"""FER2013's CSV files: a label, 2,304 grey values as text, and perhaps a Usage.

train.csv            emotion,pixels
fer2013.csv          emotion,pixels,Usage
icml_face_data.csv   emotion, Usage, pixels        (the spaces are in the file)
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from fer_tune.data.dataset import Images, Indices, Usage
from fer_tune.data.fer2013 import EMOTIONS, SIDE, USAGES
from fer_tune.errors import DataError

PIXELS = SIDE * SIDE
"""Numbers in a row."""

LONGEST = 1 << 16
"""Bytes in a line. 2,304 numbers of three digits need 9,216."""


@dataclass(frozen=True)
class Header:
    """Positions of the columns; `usage` is None if the file has no such column."""

    emotion: int
    pixels: int
    usage: int | None
    width: int


@dataclass(frozen=True)
class CsvFaces:
    """uint8 [N, 48, 48], int64 [N], and int8 [N] or None."""

    images: Images
    labels: Indices
    usage: Usage | None


def columns(line: bytes) -> list[str]:
    """Returns the names of the columns in a first line, bare and in lower case."""
    text = line.decode("utf-8-sig", errors="replace")
    return [name.strip().strip('"').strip().lower() for name in text.rstrip("\r\n").split(",")]


def read_header(line: bytes, where: str) -> Header:
    """Finds the columns in the first line.

    Raises:
        DataError: `emotion` or `pixels` is missing, or a column comes twice.
    """
    names = columns(line)
    for name in ("emotion", "pixels"):
        if name not in names:
            shown = ", ".join(repr(name) for name in names[:8])
            raise DataError(f"{where}: no column '{name}' in its first line ({shown[:200]})", _FORMATS)
    for name in ("emotion", "pixels", "usage"):
        if names.count(name) > 1:
            raise DataError(f"{where}: column '{name}' comes twice", _FORMATS)
    usage = names.index("usage") if "usage" in names else None
    return Header(names.index("emotion"), names.index("pixels"), usage, len(names))


def read_csv(stream: IO[bytes], where: str, progress: Callable[[str], None] | None = None) -> CsvFaces:
    """Reads a whole CSV file.

    Raises:
        DataError: a column is missing, or a row is wrong; says which.
    """
    header = read_header(stream.readline(LONGEST), where)
    images, labels, usages = [np.empty((0, PIXELS), np.uint8)], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # of NumPy, about a text that is not numbers to its end
        for row, fields in _rows(stream, header, where):
            at = f"{where}, row {row}"
            labels.append(_label(fields[header.emotion], at))
            if header.usage is not None:
                usages.append(_usage(fields[header.usage], at))
            images.append(_pixels(fields[header.pixels], at)[None])
            if progress and row % 4096 == 0:
                progress(f"{where}: {row:,} rows")
    usage = np.array(usages, np.int8) if header.usage is not None else None
    return CsvFaces(np.concatenate(images).reshape(-1, SIDE, SIDE), np.array(labels, np.int64), usage)


_FORMATS = "Expected: emotion,pixels with or without Usage, as in train.csv, fer2013.csv or icml_face_data.csv."

_WHOLE = "Perhaps the file was cut off while it was copied: download it again."


def _rows(stream: IO[bytes], header: Header, where: str) -> Iterator[tuple[int, list[bytes]]]:
    """Yields the number and the fields of each row; empty lines do not count."""
    row = 0
    while line := stream.readline(LONGEST):
        if line.isspace():
            continue
        row += 1
        at = f"{where}, row {row}"
        if len(line) == LONGEST:
            raise DataError(f"{at}: longer than {LONGEST:,} bytes", _FORMATS)
        fields = line.split(b",") if b'"' not in line else _quoted(line, at)
        if len(fields) != header.width:
            raise DataError(f"{at}: {len(fields)} fields instead of {header.width}", _WHOLE)
        yield row, fields


def _quoted(line: bytes, at: str) -> list[bytes]:
    try:
        [texts] = csv.reader([line.decode("utf-8", errors="replace")], strict=True)
    except csv.Error as error:
        raise DataError(f"{at}: {error}", _WHOLE) from error
    return [text.encode() for text in texts]


def _label(field: bytes, at: str) -> int:
    label = _LABEL_CODES.get(field.strip())
    if label is None:
        meaning = ", ".join(f"{label} {name}" for label, name in enumerate(EMOTIONS))
        raise DataError(f"{at}: emotion {_show(field.strip())} is not a label in 0..{len(EMOTIONS) - 1}", f"{meaning}.")
    return label


def _usage(field: bytes, at: str) -> int:
    code = _USAGE_CODES.get(field.strip())
    if code is None:
        raise DataError(f"{at}: Usage {_show(field.strip())} is none of {', '.join(USAGES)}")
    return code


_LABEL_CODES = {str(label).encode(): label for label in range(len(EMOTIONS))}

_USAGE_CODES = {name.encode(): code for code, name in enumerate(USAGES)}


def _pixels(field: bytes, at: str) -> Images:
    """Returns the numbers in a row's text, uint8 [2304]."""
    try:
        values = np.fromstring(field, np.int64, sep=" ")
    except (DeprecationWarning, ValueError):  # NumPy's warning is to become a ValueError
        values = np.empty(0, np.int64)
    if values.size != PIXELS or values.min() < 0 or values.max() > 255:
        raise _complaint(field, at)
    return values.astype(np.uint8)


def _complaint(field: bytes, at: str) -> DataError:
    """Returns an error that names the first thing that is wrong with a row's pixels."""
    values = field.split()
    for position, value in enumerate(values, 1):
        if not value.isdigit():
            what = "outside 0..255" if value[:1] == b"-" and value[1:].isdigit() else "not a whole number"
            return DataError(f"{at}: value {position} is {_show(value)}, {what}", _WHOLE)
        if len(value.lstrip(b"0")) > 3 or int(value[-3:]) > 255:
            return DataError(f"{at}: value {position} is {_show(value)}, outside 0..255")
    return DataError(f"{at}: {len(values):,} pixel values instead of {PIXELS:,}", _WHOLE)


def _show(field: bytes) -> str:
    return repr(field[:20].decode("utf-8", errors="replace"))
