"""The contact sheet is a PNG file with all pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_tune.errors import DataError
from fer_tune.report.contact_sheet import COLUMNS, EDGE, MOST, write_sheet


@pytest.mark.parametrize("shape", [(48, 48), (32, 32, 3)])
def test_it_has_every_picture(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.stack([np.full(shape, value, np.uint8) for value in np.linspace(0, 200, 11)])
    path = write_sheet(tmp_path / "sheet.png", images, [("happy 90 %", f"\x1b{place}.png") for place in range(11)])
    with Image.open(path) as sheet:
        assert sheet.width >= COLUMNS * EDGE
        assert sheet.height >= 2 * EDGE
        middles = [sheet.getpixel((8 + place * (EDGE + 8) + EDGE // 2, 8 + EDGE // 2)) for place in range(8)]
    assert middles == [(int(value),) * 3 for value in np.linspace(0, 200, 11)[:8]]


def test_too_many_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="room for 800"):
        write_sheet(tmp_path / "sheet.png", np.zeros((MOST + 1, 8, 8), np.uint8), [("", "")] * (MOST + 1))
