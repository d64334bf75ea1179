"""Tells by looking what a path holds, and reads it.

A file is a zip if it begins like one, else it must be a CSV. A folder or a zip may hold CSV files,
images in folders named by emotion, or (a folder only) zips; of several, the first of this list is read and
the rest is mentioned:

    1. a CSV with a Usage column     2. another CSV with emotion and pixels
    3. images                        4. a zip
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import cast

import numpy as np

from fer_tune.data.containers import DEPTH, Container, Folder, Zip, damaged, printable
from fer_tune.data.csvfile import LONGEST, Table, columns, read_csv, read_header
from fer_tune.data.dataset import Dataset
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.data.labels import known_names
from fer_tune.data.tree import is_image, read_tree
from fer_tune.errors import DataError

Progress = Callable[[str], None]

VERSION = 1
"""Counts up when the same files would give other faces."""

SOURCES = (
    "A source is train.csv, fer2013.csv or icml_face_data.csv, a folder <emotion>/*.jpg with or without train/ and "
    "test/ above it, a zip of either, or one of the words fer2013 and demo."
)


def read_source(path: Path, progress: Progress | None = None) -> Dataset:
    """Reads whatever lies at a path.

    Raises:
        DataError: nothing is there, it is none of the known sources, or something in it is wrong.
    """
    mode = _status(path).st_mode
    if stat.S_ISDIR(mode):
        faces = _read_container(Folder(path), progress)
    elif stat.S_ISREG(mode):
        faces = _read_file(path, progress)
    else:
        raise DataError(f"{printable(str(path))}: neither a file nor a folder", SOURCES)
    return _checked(faces)


def identity(path: Path) -> str:
    """Key of what lies at a path, from the sizes and times of its files; none of them is opened.

    Raises:
        DataError: nothing is there, or it may not be looked at.
    """
    status = _status(path)
    with damaged(printable(str(path))):
        stamps = _stamps(str(path), DEPTH) if stat.S_ISDIR(status.st_mode) else [_stamp("", status)]
        text = "\n".join([f"{VERSION} {path.resolve()}", *sorted(stamps)])
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise DataError(f"{printable(str(path))}: {error.strerror or error}", SOURCES) from error
    except ValueError as error:  # a zero byte in the name
        raise DataError(f"{str(path)!r}: {error}", SOURCES) from error


def _stamps(path: str, depth: int) -> list[str]:
    stamps = []
    with os.scandir(path) as entries:
        for entry in entries:
            folder = entry.is_dir()
            if folder or entry.is_file():  # neither: a link that leads nowhere
                stamps.append(_stamp(entry.path, entry.stat()))
            if depth and folder:
                stamps += _stamps(entry.path, depth - 1)
    return stamps


def _stamp(name: str, status: os.stat_result) -> str:
    # the time of the last change of status also notices a file whose other time was set back
    return f"{name} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _read_file(path: Path, progress: Progress | None) -> Dataset:
    where = printable(str(path))
    with damaged(where), path.open("rb", buffering=1 << 20) as stream:
        start = stream.read(4)
        if start[:2] == b"PK":
            return _read_container(Zip(path), progress)
        for magic, kind in _PACKED.items():
            if start.startswith(magic):
                raise DataError(f"{where}: a {kind} file, which is not read", f"Unpack it first. {SOURCES}")
        stream.seek(0)
        return _from_table(read_csv(stream, where, progress), where, ())


_PACKED = {b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7z", b"Rar!": "rar", b"BZh": "bzip2", b"\xfd7zX": "xz"}


@dataclass(frozen=True)
class _Candidate:
    """Something in a container that can be read; the smallest rank is read."""

    rank: int
    name: str
    read: Callable[[], Dataset]


def _read_container(container: Container, progress: Progress | None) -> Dataset:
    """Looks for the candidates and reads the best one."""
    found = [*_tables(container, progress), *_images(container, progress), *_zips(container, progress)]
    if not found:
        _explain_nothing(container)
    best, *others = sorted(found, key=lambda candidate: (candidate.rank, candidate.name))
    faces = best.read()
    if not others:
        return faces
    ignored = ", ".join(printable(other.name) for other in others[:5])
    note = f"read {printable(best.name)}; also there and not read: {ignored} (give its path to read another)"
    return replace(faces, notes=(*faces.notes, note))


def _tables(container: Container, progress: Progress | None) -> list[_Candidate]:
    candidates = []
    for name in _csv_files(container):
        with damaged(container.at(name)), container.open(name) as stream:
            names = columns(stream.readline(LONGEST))
        if "emotion" in names and "pixels" in names:

            def read(name: str = name) -> Dataset:
                where = container.at(name)
                with damaged(where), io.BufferedReader(cast(io.RawIOBase, container.open(name)), 1 << 20) as stream:
                    return _from_table(read_csv(stream, where, progress), where, ())

            candidates.append(_Candidate(0 if "usage" in names else 1, name, read))
    return candidates


def _images(container: Container, progress: Progress | None) -> list[_Candidate]:
    if not any(is_image(name) for name in container.files):
        return []

    def read() -> Dataset:
        tree = read_tree(container, progress)
        return Dataset.of(
            tree.images, tree.labels, tree.usage, names=tree.names, source=container.shown, notes=tree.notes
        )

    return [_Candidate(2, "the images in folders", read)]


def _zips(container: Container, progress: Progress | None) -> list[_Candidate]:
    """Zips in a folder; a zip inside a zip is not looked into."""
    if not isinstance(container, Folder):
        return []
    candidates = []
    for name in container.files:
        if name.lower().endswith(".zip"):

            def read(name: str = name) -> Dataset:
                return _read_container(Zip(container.path(name)), progress)

            candidates.append(_Candidate(3, name, read))
    return candidates


def _csv_files(container: Container) -> list[str]:
    return [name for name in container.files if name.lower().endswith(".csv") and len(PurePosixPath(name).parts) <= 3]


def _explain_nothing(container: Container) -> None:
    """Raises the error that helps most."""
    for name in _csv_files(container):
        with damaged(container.at(name)), container.open(name) as stream:
            read_header(stream.readline(LONGEST), container.at(name))
    if container.folders and not container.files:
        raise DataError(f"{container.shown}: has folders but no images in them", SOURCES)
    raise DataError(f"{container.shown}: no images and no CSV in it", SOURCES)


def _from_table(table: Table, where: str, notes: tuple[str, ...]) -> Dataset:
    names = [f"row {row}" for row in range(1, len(table.labels) + 1)]
    return Dataset.of(table.images, table.labels, table.usage, names=names, source=where, notes=notes)


def _checked(faces: Dataset) -> Dataset:
    """Every emotion must have images."""
    if not len(faces):
        raise DataError(f"{faces.source}: no images in it", SOURCES)
    empty = [EMOTIONS[label] for label in np.flatnonzero(np.bincount(faces.labels, minlength=len(EMOTIONS)) == 0)]
    if empty:
        raise DataError(
            f"{faces.source}: no image of {', '.join(empty)}",
            f"All seven classes are needed. Folders may be named: {known_names()}.",
        )
    return faces
