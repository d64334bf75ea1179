"""Whatever the loaders are given, they return images or raise a FerTuneError, and write nothing."""

from __future__ import annotations

import csv
import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fer_tune.data.csvfile import PIXELS, CsvFaces, read_csv
from fer_tune.data.dataset import Dataset
from fer_tune.data.fer2013 import EMOTIONS, USAGES
from fer_tune.data.images import read_image
from fer_tune.data.sources import identity, read_source
from fer_tune.errors import DataError
from tests.anything import tries
from tests.data.making import arrays, csv_text, encoded

T = TypeVar("T")


def answer(ask: Callable[[], T]) -> tuple[T | None, str]:
    """What was read, or why it was refused."""
    try:
        return ask(), ""
    except DataError as error:
        return None, error.message


# CSV ------------------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["emotion", "pixels", "Usage", " Usage", '"emotion"', " PIXELS ", "﻿emotion", "id", ""])
LABELS = st.sampled_from([*"0123456", " 3", "6 ", '"2"']) | st.sampled_from(["7", "-1", "1.0", "x", "", "٣", "\0"])
PARTS = st.sampled_from([*USAGES, " Training", '"PublicTest"']) | st.sampled_from(["Test", "", "training", "\0"])
NUMBERS = st.integers(0, 255).map(str) | st.sampled_from(["007", "0000255"])
ODD = st.sampled_from(["256", "-1", "1e2", "1.5", "", "٣", "\0", "\t", "  ", '"', ",", "\r", "0x1f", "9" * 400, "\xa0"])
SPACES = st.sampled_from([" ", " ", " ", "  ", "\t", " \t", "\x0b", "\x1c"])
ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n", " \n", ""])


@st.composite
def pixel_fields(draw: st.DrawFn) -> str:
    """2,304 numbers, or nearly: written as a few, repeated."""
    some = draw(st.lists(NUMBERS, min_size=1, max_size=4))
    values = (some * PIXELS)[: PIXELS + draw(st.sampled_from([0, 0, 0, 0, -1, 1]))]
    for place, odd in draw(st.lists(st.tuples(st.integers(0, len(values) - 1), NUMBERS | ODD), max_size=2)):
        values[place] = odd
    text = draw(SPACES).join(values)
    return draw(st.sampled_from(["{}", "{}", "{}", '"{}"', " {} ", "{},", '"{}'])).format(text)


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """A header and rows, each nearly as they should be."""
    columns = draw(
        st.permutations(["emotion", "pixels", "Usage"]) | st.just(["emotion", "pixels"]) | st.lists(NAMES, max_size=4)
    )
    lines = [",".join(columns)]
    for _ in range(draw(st.integers(0, 3))):
        cells = {"emotion": LABELS, "pixels": pixel_fields(), "usage": PARTS}
        fields = [draw(cells.get(name.strip('" ﻿').lower(), st.just("x"))) for name in columns]
        lines.append(",".join(fields))
    return draw(ENDS).join([*lines, ""]).encode()


def by_hand(data: bytes) -> tuple[list[list[int]], list[int]] | None:
    """What Python's own reader makes of a file whose fields are all plain; None if any is not."""
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    names = [name.strip().strip('"').lower() for name in rows[0]]
    images, labels = [], []
    for row in rows[1:]:
        if not any(cell.strip() for cell in row):
            continue
        values = row[names.index("pixels")].split()
        numbers = [int(value) for value in values if value.isascii() and value.isdigit()]
        label = row[names.index("emotion")].strip()
        if len(row) != len(names) or len(numbers) != len(values) or label not in list("0123456"):
            return None
        if len(numbers) != PIXELS or max(numbers) > 255:
            return None
        images.append(numbers)
        labels.append(int(label))
    return images, labels


def reads_or_says_why(data: bytes) -> CsvFaces | None:
    table, refused = answer(lambda: read_csv(io.BytesIO(data), "any.csv"))
    if table is None:
        assert "any.csv" in refused
        return None
    assert table.images.shape == (len(table.labels), 48, 48)
    assert set(table.labels.tolist()) <= set(range(7))
    assert table.usage is None or len(table.usage) == len(table.labels)
    return table


@tries(200)
@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_as_csv(data: bytes) -> None:
    reads_or_says_why(data)
    reads_or_says_why(b"emotion,pixels\n" + data)


@tries(100)
@given(csv_files())
def test_anything_like_a_csv(data: bytes) -> None:
    """What is accepted has the values that Python's own reader finds."""
    table = reads_or_says_why(data)
    if table is not None and len(table.labels):
        assert by_hand(data) == (table.images.reshape(-1, PIXELS).tolist(), table.labels.tolist())


@tries(30)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2**32 - 1)), max_size=40), st.booleans())
def test_every_good_csv_is_read(rows: list[tuple[int, int]], windows: bool) -> None:
    images = np.array([np.random.RandomState(seed).randint(0, 256, (48, 48)) for _, seed in rows], np.uint8)
    labels = np.array([label for label, _ in rows], np.int64)
    text = csv_text(images, labels)
    table = reads_or_says_why(text.replace("\n", "\r\n" if windows else "\n").encode())
    assert table is not None
    assert table.labels.tolist() == labels.tolist()
    assert (table.images == images.reshape(-1, 48, 48)).all()


# images ---------------------------------------------------------------------------------------------------------------

MODES = st.sampled_from(
    ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F"]
)
FORMATS = st.sampled_from(["PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM", "ICO"])
SIDES = st.integers(1, 60) | st.sampled_from([1, 47, 48, 49, 300])


@st.composite
def images(draw: st.DrawFn) -> bytes:
    """Draws an image file of any mode, size and format; perhaps damaged."""
    mode, size = draw(MODES), (draw(SIDES), draw(SIDES))
    stream = io.BytesIO()
    try:
        Image.new(mode, size, draw(st.integers(0, 255)) if mode in ("L", "I", "I;16") else 0).save(
            stream, draw(FORMATS)
        )
    except (OSError, ValueError, KeyError, TypeError):
        stream = io.BytesIO()
        Image.new("L", size, 99).save(stream, "PNG")
    return damage(draw, stream.getvalue())


def damage(draw: st.DrawFn, data: bytes) -> bytes:
    """As it is, cut, with some bytes changed, or with something before or after it."""
    how = draw(st.sampled_from(["no", "no", "cut", "flip", "flip", "before", "after"]))
    if how == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if how == "flip":
        changed = bytearray(data)
        for place, value in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=4)):
            changed[place] = value
        return bytes(changed)
    if how in ("before", "after"):
        extra = draw(st.binary(max_size=40))
        return extra + data if how == "before" else data + extra
    return data


@tries(150)
@given(images())
def test_any_image(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "face.png"
    file.write_bytes(data)
    face, refused = answer(lambda: read_image(file, 48, 1))
    if face is None:
        assert str(file) in refused
        return
    assert face.shape == (48, 48)
    assert face.dtype == np.uint8


# zips -----------------------------------------------------------------------------------------------------------------

FACES, OF = arrays(1)
GOOD = {f"train/{EMOTIONS[label]}/a{label}.png": encoded(face) for face, label in zip(FACES, OF, strict=True)}
WORDS = st.sampled_from(
    [*EMOTIONS, "train", "test", "Anger", "..", ".", "", "C:", "a\\..", "\\\\host", ".hidden", "__MACOSX", "NUL",
     "x" * 300, "train.csv", "x.zip", "a.png", "b.jpg", "PublicTest_1.png", "ä.png",
     "\0.png", "a\n.png", "\udc80.png", "CON.png"]
)  # fmt: skip
PATHS = st.lists(WORDS, min_size=1, max_size=5).map("/".join)
METHODS = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
CONTENTS = (
    st.binary(max_size=60)
    | images()
    | st.just(b"emotion,pixels\n")
    | st.just(csv_text(FACES, OF).encode())
    | st.sampled_from([1, 1 << 20]).map(lambda size: b"\0" * size)
)


@st.composite
def zips(draw: st.DrawFn) -> bytes:
    """A zip of entries with any names and contents, whose directory may then be made to lie."""
    stream = io.BytesIO()
    entries = [*GOOD.items()] if draw(st.booleans()) else []
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, data in [*entries, *draw(st.lists(st.tuples(PATHS, CONTENTS), max_size=3))]:
            entry = zipfile.ZipInfo(name.encode("utf-8", "replace").decode())
            entry.external_attr = draw(st.sampled_from([0, 0, 0o120777 << 16, 0o40755 << 16, 0xFFFFFFFF]))
            archive.writestr(entry, data, draw(METHODS))
    return damage(draw, lie(draw, stream.getvalue()))


FIELDS = {
    b"PK\1\2": [(6, "H"), (8, "H"), (10, "H"), (16, "I"), (20, "I"), (24, "I"), (28, "H"), (30, "H"), (34, "H"),
                (42, "I")],
    b"PK\3\4": [(4, "H"), (6, "H"), (8, "H"), (14, "I"), (18, "I"), (22, "I"), (26, "H"), (28, "H")],
    b"PK\5\6": [(4, "H"), (6, "H"), (8, "H"), (10, "H"), (12, "I"), (16, "I"), (20, "H")],
}  # fmt: skip
"""Place and format of what the directory, each entry and the end say: versions, flags, methods,
sizes, places."""


def lie(draw: st.DrawFn, data: bytes) -> bytes:
    """Changes some of the numbers by which a zip describes itself."""
    changed = bytearray(data)
    numbers = [
        (place + offset, f"<{form}")
        for place in range(len(data) - 22)
        for offset, form in FIELDS.get(data[place : place + 4], ())
    ]
    for place, form in draw(st.lists(st.sampled_from(numbers), max_size=2)) if numbers else ():
        most = 256 ** struct.calcsize(form) - 1
        value = draw(st.sampled_from([0, 1, 8, 0x41, 0x800, 99, most - 1, most]) | st.integers(0, most))
        struct.pack_into(form, changed, place, min(value, most))
    return bytes(changed)


def faces_or_says_why(path: Path) -> Dataset | None:
    before = sorted(path.parent.parent.rglob("*"))
    faces, refused = answer(lambda: read_source(path))
    assert sorted(path.parent.parent.rglob("*")) == before
    if faces is None:
        assert path.name in refused
    else:
        assert faces.images.shape == (len(faces), 48, 48)
        assert set(faces.labels.tolist()) == set(range(len(faces.spec.classes)))
    return faces


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in" / "any.zip"


@tries(100)
@given(zips())
def test_any_zip(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    identity(file)
    faces_or_says_why(file)


@tries(100)
@given(st.binary(max_size=300))
def test_any_bytes_as_a_source(file: Path, data: bytes) -> None:
    for start in (b"", b"PK\3\4", b"PK\5\6"):
        file.write_bytes(start + data)
        faces_or_says_why(file)
