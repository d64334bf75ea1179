"""The competition's CSV files: a label, 2,304 grey values as text, and perhaps a Usage.

    train.csv            emotion,pixels
    fer2013.csv          emotion,pixels,Usage
    icml_face_data.csv   emotion, Usage, pixels        (the spaces are in the file)

Converting 66 million numbers one by one takes many seconds; here a block of rows is one array of bytes,
and a number is what stands before a byte that is no digit: the three digits of all numbers are found,
weighed and added at once.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from fer_tune.data.dataset import SIDE, USAGES, Images, Indices, Usage
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.errors import DataError

PIXELS = SIDE * SIDE
"""Numbers in a row."""

ROWS = 16
"""Rows converted at once: 140 KB of text, so that all intermediate arrays stay in the processor's cache."""

LONGEST = 1 << 16
"""Bytes in a line; 2,304 numbers of three digits need 9,216."""


@dataclass(frozen=True)
class Header:
    """Positions of the columns; `usage` is None where the file has none."""

    emotion: int
    pixels: int
    usage: int | None
    width: int


@dataclass(frozen=True)
class Table:
    """uint8 [N, 48, 48], int64 [N], and int8 [N] or None."""

    images: Images
    labels: Indices
    usage: Usage | None


def columns(line: bytes) -> list[str]:
    """Names of the columns in a first line, without spaces, quotes and case."""
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


def read_csv(stream: IO[bytes], where: str, progress: Callable[[str], None] | None = None) -> Table:
    """Reads a whole CSV file.

    Raises:
        DataError: the file does not have the columns, or a row is not as it should be; says which.
    """
    header = read_header(stream.readline(LONGEST), where)
    images, labels, usages = [np.empty((0, SIDE, SIDE), np.uint8)], [], []
    texts: list[bytes] = []
    row = 0
    while line := stream.readline(LONGEST):
        if line.isspace():
            continue
        row += 1
        at = f"{where}, row {row}"
        if len(line) == LONGEST:
            raise DataError(f"{at}: longer than {LONGEST:,} bytes", _FORMATS)
        fields = _fields(line, header, at)
        labels.append(_label(fields[header.emotion], at))
        if header.usage is not None:
            usages.append(_usage(fields[header.usage], at))
        texts.append(fields[header.pixels].strip())
        if len(texts) == ROWS:
            images.append(_pixels(texts, where, row))
            texts = []
            if progress and row % 4096 == 0:
                progress(f"{where}: {row:,} rows")
    if texts:
        images.append(_pixels(texts, where, row))
    usage = np.array(usages, np.int8) if header.usage is not None else None
    return Table(np.concatenate(images), np.array(labels, np.int64), usage)


_FORMATS = "Expected: emotion,pixels with or without Usage, as in train.csv, fer2013.csv or icml_face_data.csv."

_WHOLE = "Perhaps the file was cut off while it was copied: download it again."


def _fields(line: bytes, header: Header, at: str) -> list[bytes]:
    fields = line.split(b",")
    if b'"' in line:
        try:
            [texts] = csv.reader([line.decode("utf-8", errors="replace")], strict=True)
            fields = [text.encode() for text in texts]
        except csv.Error as error:
            raise DataError(f"{at}: {error}", _WHOLE) from error
    if len(fields) != header.width:
        raise DataError(f"{at}: {len(fields)} fields instead of {header.width}", _WHOLE)
    return fields


def _label(field: bytes, at: str) -> int:
    label = _LABEL_CODES.get(field.strip())
    if label is None:
        meaning = ", ".join(f"{label} {name}" for label, name in enumerate(EMOTIONS))
        raise DataError(f"{at}: emotion {_show(field.strip())} is no label in 0..{len(EMOTIONS) - 1}", f"{meaning}.")
    return label


def _usage(field: bytes, at: str) -> int:
    code = _USAGE_CODES.get(field.strip())
    if code is None:
        raise DataError(f"{at}: Usage {_show(field.strip())} is none of {', '.join(USAGES)}")
    return code


_LABEL_CODES = {str(label).encode(): label for label in range(len(EMOTIONS))}

_USAGE_CODES = {name.encode(): code for code, name in enumerate(USAGES)}


def _pixels(texts: list[bytes], where: str, last: int) -> Images:
    """Converts the pixel fields of consecutive rows, the last of which has number `last`; uint8 [n, 48, 48]."""
    values = _numbers(texts)
    if values is not None:
        return values.reshape(-1, SIDE, SIDE)
    for index, field in enumerate(texts):
        _complain(field, f"{where}, row {last - len(texts) + 1 + index}")
    # nothing is wrong with these rows but more zeros or other spaces than the quick way knows
    return np.array([[int(value[-3:]) for value in field.split()] for field in texts], np.uint8).reshape(-1, SIDE, SIDE)


def _numbers(texts: list[bytes]) -> NDArray[np.uint8] | None:
    """The numbers of all rows, uint8 [n · 2304]; None unless each row is 2,304 numbers in 0..255 and spaces.

    For every position of the text, as if a number ended there: its tens and hundreds are the digits one and
    two places before, zero where a space comes between. The positions before a space are then picked.
    """
    text = np.frombuffer(b"   " + b" ".join(texts) + b" ", np.uint8)  # so that each place has three before, one after
    digit = text - np.uint8(ord("0"))  # wraps around: only digits stay below 10
    is_digit = digit < 10
    digit *= is_digit
    here, before, third, fourth = is_digit[3:-1], is_digit[2:-2], is_digit[1:-3], is_digit[:-4]
    below_hundred = digit[2:-2] * np.uint8(10)
    below_hundred += digit[3:-1]
    hundreds = digit[1:-3] * before
    over = (hundreds == 2) & (below_hundred > 55)
    over |= hundreds > 2
    over |= before & third & fourth
    over &= here
    ends = np.flatnonzero(here & ~is_digit[4:])
    last = np.cumsum([len(field) + 1 for field in texts]) - 2
    if (
        len(ends) != PIXELS * len(texts)
        or not np.array_equal(ends[PIXELS - 1 :: PIXELS], last)
        or over.any()
        or np.count_nonzero(is_digit) + np.count_nonzero(text == ord(" ")) != len(text)
    ):
        return None
    hundreds *= np.uint8(100)
    hundreds += below_hundred
    return np.asarray(hundreds[ends])


def _complain(field: bytes, at: str) -> None:
    """Raises for the first thing that is wrong with one row's pixels; tabs and zeros in front are not."""
    values = field.split()
    for position, value in enumerate(values, 1):
        if not value.isdigit():
            what = "outside 0..255" if value[:1] == b"-" and value[1:].isdigit() else "no whole number"
            raise DataError(f"{at}: value {position} is {_show(value)}, {what}", _WHOLE)
        if len(value.lstrip(b"0")) > 3 or int(value[-3:]) > 255:
            raise DataError(f"{at}: value {position} is {_show(value)}, outside 0..255")
    if len(values) != PIXELS:
        raise DataError(f"{at}: {len(values):,} pixel values instead of {PIXELS:,}", _WHOLE)


def _show(field: bytes) -> str:
    return repr(field[:20].decode("utf-8", errors="replace"))
