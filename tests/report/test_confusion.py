"""The confusion matrix as a picture: right colours in the right cells, whole files only."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.report.confusion import confusion_png


def colours(path: Path) -> set[tuple[int, int, int]]:
    with Image.open(path) as image:
        return {tuple(pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3)}


def cividis(share: float) -> tuple[int, int, int]:
    red, green, blue, _ = matplotlib.colormaps["cividis"](share, bytes=True)
    return int(red), int(green), int(blue)


def test_cells_are_coloured_by_their_share_of_the_row(tmp_path: Path) -> None:
    matrix = [[1, 3], [0, 400]]  # the counts differ, the shares decide
    path = confusion_png(matrix, ("sad", "happy"), tmp_path / "deep" / "confusion.png", "two classes")
    assert {cividis(share) for share in (0.25, 0.75, 0.0, 1.0)} <= colours(path)
    assert [file.name for file in path.parent.iterdir()] == ["confusion.png"]


def test_a_class_without_images_draws_an_empty_row(tmp_path: Path) -> None:
    matrix = [[5 * (i == j) * (i != 1) for j in range(7)] for i in range(7)]
    with Image.open(confusion_png(matrix, EMOTIONS, tmp_path / "c.png", "")) as image:
        assert image.width > 600
        assert image.height > 600


@pytest.mark.parametrize("matrix", [[[1, 2]], [[1, 2], [3]], [[1, 2, 3], [1, 2, 3]]])
def test_a_matrix_of_another_shape_is_refused(tmp_path: Path, matrix: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="must have 2 rows of 2"):
        confusion_png(matrix, ("sad", "happy"), tmp_path / "c.png", "")
    assert not (tmp_path / "c.png").exists()
