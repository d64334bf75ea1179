"""One image file as a face, read as an image of a data set would be."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from fer_tune.data.containers import printable
from fer_tune.data.dataset import Images
from fer_tune.data.tree import _read
from fer_tune.errors import DataError


class _Alone:
    """A container of one file."""

    def __init__(self, path: Path) -> None:
        self.shown = str(path.parent)
        self.files = [path.name]
        self.folders: list[str] = []
        self._path = path

    def open(self, name: str) -> IO[bytes]:
        return self._path.open("rb")

    def at(self, name: str) -> str:
        return printable(str(self._path))


def read_face(path: Path) -> Images:
    """uint8 [48, 48]: grey, upright, the middle square resized.

    Raises:
        DataError: there is no such file, or it is no image that can be read.
    """
    if not path.is_file():
        raise DataError(f"{printable(str(path))}: there is no such file", "Name an image file, such as face.png.")
    return _read(_Alone(path), path.name)[0]
