import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_tune.data.csvfile import read_csv
from fer_tune.errors import DataError
from tests.data.making import arrays, csv_text, pixels

IMAGES, LABELS = arrays()
FLAT = pixels(IMAGES[0])


def read(text: str | bytes):
    return read_csv(io.BytesIO(text if isinstance(text, bytes) else text.encode()), "some.csv")


def test_the_competitions_training_file():
    table = read(csv_text(IMAGES, LABELS))
    assert table.images.dtype == np.uint8
    assert table.labels.dtype == np.int64
    assert (table.images == IMAGES).all()
    assert (table.labels == LABELS).all()
    assert table.usage is None


def test_usage_in_any_column_order_with_spaces_in_the_names():
    usage = ["Training", "PublicTest", "PrivateTest"]
    rows = [f"{label},{usage[i % 3]},{pixels(IMAGES[i])}" for i, label in enumerate(LABELS)]
    table = read("\n".join(["emotion, Usage, pixels", *rows]))
    assert (table.images == IMAGES).all()
    assert table.usage is not None
    assert table.usage.tolist() == [i % 3 for i in range(len(LABELS))]
    swapped = read("\n".join([" pixels,extra,emotion ", *(f"{pixels(IMAGES[i])},x,{LABELS[i]}" for i in range(9))]))
    assert (swapped.images == IMAGES[:9]).all()


@pytest.mark.parametrize("end", ["\r\n", "\n\n", "\n"])
def test_line_ends_quotes_a_byte_order_mark_and_capitals(end: str):
    rows = [f'"{label}","{pixels(image)}"' for image, label in zip(IMAGES, LABELS, strict=True)]
    table = read(b"\xef\xbb\xbf" + end.join(['"Emotion","Pixels"', *rows]).encode())
    assert (table.images == IMAGES).all()


def test_tabs_double_spaces_and_leading_zeros_are_no_error():
    odd = "  " + "\t".join(f"{value:03}" for value in IMAGES[0].ravel()) + "  "
    assert (read(f"emotion,pixels\n1,{odd}\n").images[0] == IMAGES[0]).all()


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40), st.sampled_from([" ", "  "]))
def test_any_pixels(some: list[int], space: str):
    values = (some * 2304)[:2304]
    table = read("emotion,pixels\n6," + space.join(map(str, values)))
    assert table.images.ravel().tolist() == values


def with_value(value: str) -> str:
    return " ".join(["7"] * 100 + [value] + ["7"] * 2203)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("7," + FLAT, r"row 3: emotion '7' is not a label in 0\.\.6"),
        ("-1," + FLAT, "row 3: emotion '-1' is not a label"),
        ("2.0," + FLAT, "row 3: emotion '2.0' is not a label"),
        ("," + FLAT, "row 3: emotion '' is not a label"),
        ("9" * 5000 + "," + FLAT, "row 3: emotion '99999"),
        ("1," + FLAT.rsplit(" ", 1)[0], "row 3: 2,303 pixel values instead of 2,304"),
        ("1," + FLAT + " 3", "row 3: 2,305 pixel values"),
        ("1,", "row 3: 0 pixel values"),
        ("1", "row 3: 1 fields instead of 2"),
        ("1," + FLAT + ",4", "row 3: 3 fields instead of 2"),
        ("1," + with_value("256"), r"row 3: value 101 is '256', outside 0\.\.255"),
        ("1," + with_value("999"), "row 3: value 101 is '999', outside"),
        ("1," + with_value("1000"), "row 3: value 101 is '1000', outside"),
        ("1," + with_value("4294967297"), "row 3: value 101 is '4294967297', outside"),
        ("1," + with_value("-5"), r"row 3: value 101 is '-5', outside 0\.\.255"),
        ("1," + with_value("1.5"), "row 3: value 101 is '1.5', not a whole number"),
        ("1," + FLAT.rsplit(" ", 1)[0] + " 1.5", "row 3: value 2304 is '1.5', not a whole number"),
        ("1," + with_value("nan"), "row 3: value 101 is 'nan', not a whole number"),
        ("1," + with_value("\x00"), "row 3: value 101 is"),
        ("1," + FLAT + " " * 70_000, "row 3: longer than 65,536 bytes"),
        ('1,"' + FLAT + "\r3", "row 3: "),
    ],
)
def test_a_bad_row_is_named(row: str, message: str):
    text = "\n".join(["emotion,pixels", f"0,{FLAT}", f"0,{FLAT}", row, f"0,{FLAT}"])
    with pytest.raises(DataError, match=r"some\.csv, " + message):
        read(text)


def test_a_bad_row_far_down_is_named():
    rows = [f"0,{FLAT}"] * 150
    rows[133] = "0," + with_value("300")
    with pytest.raises(DataError, match="row 134: value 101"):
        read("\n".join(["emotion,pixels", *rows]))


def test_an_unknown_usage_is_named():
    with pytest.raises(DataError, match="row 1: Usage 'Test' is none of Training, PublicTest, PrivateTest"):
        read(f"emotion,pixels,Usage\n0,{FLAT},Test\n")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("emotion,pixel", "no column 'pixels' in its first line"),
        ("pixels", "no column 'emotion'"),
        ("", "no column 'emotion'"),
        ("emotion,pixels,pixels", "column 'pixels' comes twice"),
        ("emotion,pixels,Usage, usage", "column 'usage' comes twice"),
    ],
)
def test_missing_columns(header: str, message: str):
    with pytest.raises(DataError, match=message):
        read(f"{header}\n0,{FLAT}\n")


@given(st.binary(max_size=300))
def test_rubbish_is_refused_or_empty_but_never_a_traceback(data: bytes):
    for text in (data, b"emotion,pixels\n" + data):
        try:
            table = read(text)
        except DataError:
            continue
        assert len(table.labels) == 0
