"""Looks at what a path holds, and reads it.

A file that begins like a zip is a zip; any other file must be a CSV. A folder or a zip may hold CSV
files or images in folders named by class; a folder may also hold zips. If there are several, the
first of this list is read, and a note names the others:

    1. a CSV with a Usage column     2. another CSV with emotion and pixels
    3. images                        4. a zip

To add a kind of data set, write a function that finds it in a container, and name it in `FINDERS`.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import cast

from fer_tune.data.containers import DEPTH, Container, Folder, Zip, damaged, printable
from fer_tune.data.csvfile import LONGEST, CsvFaces, columns, read_csv, read_header
from fer_tune.data.dataset import Dataset
from fer_tune.data.fer2013 import SIDE
from fer_tune.data.images import is_image, resized
from fer_tune.data.tree import EXPECTED, MOST_CLASSES, read_tree
from fer_tune.errors import DataError

Progress = Callable[[str], None]

VERSION = 2
"""Counts up when the same files would give another data set."""

SOURCES = (
    "A source is train.csv, fer2013.csv or icml_face_data.csv, a folder <class>/*.jpg with or without train/ and "
    "test/ above it, a zip of either, or one of the words fer2013 and demo."
)


@dataclass(frozen=True)
class Reading:
    """How to read a source.

    Attributes:
        side, channels: what the images are resized and converted to.
        progress: hears of progress.
        complete: whether the data set must be complete, as `check_complete` says.
    """

    side: int = SIDE
    channels: int = 1
    progress: Progress | None = None
    complete: bool = True


def read_source(path: Path, reading: Reading | None = None) -> Dataset:
    """Reads what is at a path.

    Raises:
        DataError: nothing is there, it is none of the known sources, or something in it is wrong.
    """
    reading = reading or Reading()
    mode = _status(path).st_mode
    if stat.S_ISDIR(mode):
        dataset = _read_container(Folder(path), reading)
    elif stat.S_ISREG(mode):
        dataset = _read_file(path, reading)
    else:
        raise DataError(f"{printable(str(path))}: neither a file nor a folder", SOURCES)
    if not len(dataset):
        raise DataError(f"{dataset.source}: no images in it", SOURCES)
    if reading.complete:
        check_complete(dataset)
    return fitted(dataset, reading.side, reading.channels)


def fitted(dataset: Dataset, side: int, channels: int) -> Dataset:
    """Returns a data set with its images resized and converted to so many channels."""
    if (dataset.spec.side, dataset.spec.channels) == (side, channels):
        return dataset
    return Dataset.of(
        resized(dataset.images, side, channels),
        dataset.labels,
        dataset.usage,
        classes=dataset.spec.classes,
        names=dataset.names,
        source=dataset.source,
        notes=(*dataset.notes, f"all images converted from {_shown(dataset)} to {side}×{side}×{channels}"),
    )


def _shown(dataset: Dataset) -> str:
    return f"{dataset.spec.side}×{dataset.spec.side}×{dataset.spec.channels}"


def identity(path: Path, side: int = SIDE, channels: int = 1) -> str:
    """Returns a key of what is at a path: of the sizes and times of its files. Opens none of them.

    Raises:
        DataError: nothing is there, or it is not readable.
    """
    status = _status(path)
    with damaged(printable(str(path))):
        stamps = _stamps(str(path), DEPTH) if stat.S_ISDIR(status.st_mode) else [_stamp("", status)]
        text = "\n".join([f"{VERSION} {side} {channels} {path.resolve()}", *sorted(stamps)])
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
            if folder or entry.is_file():  # neither: a dangling link
                stamps.append(_stamp(entry.path, entry.stat()))
            if depth and folder:
                stamps += _stamps(entry.path, depth - 1)
    return stamps


def _stamp(name: str, status: os.stat_result) -> str:
    # ctime changes also where a program sets mtime back
    return f"{name} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _read_file(path: Path, reading: Reading) -> Dataset:
    where = printable(str(path))
    with damaged(where), path.open("rb", buffering=1 << 20) as stream:
        start = stream.read(4)
        if start[:2] == b"PK":
            return _read_zip(path, reading)
        for magic, kind in _PACKED.items():
            if start.startswith(magic):
                raise DataError(f"{where}: a {kind} file, which fer-tune does not read", f"Unpack it first. {SOURCES}")
        stream.seek(0)
        return _from_table(read_csv(stream, where, reading.progress), where)


_PACKED = {b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7z", b"Rar!": "rar", b"BZh": "bzip2", b"\xfd7zX": "xz"}


@dataclass(frozen=True)
class Candidate:
    """Something in a container that can be read.

    Attributes:
        name: what to call it in a note.
        read: reads it, with images of any size.
        rank: among those of one finder, the smallest is read.
    """

    name: str
    read: Callable[[], Dataset]
    rank: int = 0


def _read_container(container: Container, reading: Reading) -> Dataset:
    """Finds the candidates and reads the best one."""
    found = [
        candidate
        for find in FINDERS
        for candidate in sorted(find(container, reading), key=lambda candidate: (candidate.rank, candidate.name))
    ]
    if not found:
        _explain_nothing(container)
    best, *others = found
    dataset = best.read()
    if not others:
        return dataset
    ignored = ", ".join(printable(other.name) for other in others[:5])
    note = f"read {printable(best.name)}; also there and not read: {ignored} (give its path to read another)"
    return replace(dataset, notes=(*dataset.notes, note))


def _tables(container: Container, reading: Reading) -> list[Candidate]:
    candidates = []
    for name in _csv_files(container):
        with damaged(container.at(name)), container.open(name) as stream:
            names = columns(stream.readline(LONGEST))
        if "emotion" in names and "pixels" in names:

            def read(name: str = name) -> Dataset:
                where = container.at(name)
                with damaged(where), io.BufferedReader(cast(io.RawIOBase, container.open(name)), 1 << 20) as stream:
                    return _from_table(read_csv(stream, where, reading.progress), where)

            candidates.append(Candidate(name, read, rank=0 if "usage" in names else 1))
    return candidates


def _images(container: Container, reading: Reading) -> list[Candidate]:
    if not any(is_image(name) for name in container.files):
        return []

    def read() -> Dataset:
        return read_tree(container, reading.side, reading.channels, reading.progress)

    return [Candidate("the images in folders", read)]


def _read_zip(path: Path, reading: Reading) -> Dataset:
    with closing(Zip(path)) as container:
        return _read_container(container, reading)


def _zips(container: Container, reading: Reading) -> list[Candidate]:
    """Returns the zips in a folder. A zip inside a zip is not read."""
    if not isinstance(container, Folder):
        return []
    candidates = []
    for name in container.files:
        if name.lower().endswith(".zip"):

            def read(name: str = name) -> Dataset:
                return _read_zip(container.path(name), reading)

            candidates.append(Candidate(name, read))
    return candidates


FINDERS: tuple[Callable[[Container, Reading], list[Candidate]], ...] = (_tables, _images, _zips)
"""What can be read. If several find something, the first of them is read."""


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


def _from_table(table: CsvFaces, where: str) -> Dataset:
    names = [f"row {row}" for row in range(1, len(table.labels) + 1)]
    return Dataset.of(table.images, table.labels, table.usage, names=names, source=where)


def check_complete(dataset: Dataset) -> None:
    """Checks that a network can be trained on a data set. A trained one can be judged by less.

    Raises:
        DataError: it has only one class, or a class of it has no images.
    """
    classes = dataset.spec.classes
    if len(classes) < 2:
        raise DataError(
            f"{dataset.source}: has only one class ({classes[0]}); 2 to {MOST_CLASSES} are possible", EXPECTED
        )
    empty = [name for name, count in dataset.counts.items() if not count]
    if empty:
        raise DataError(
            f"{dataset.source}: no image of {', '.join(empty)}", f"Every class needs images: {', '.join(classes)}."
        )
