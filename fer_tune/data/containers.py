"""A folder and a zip with one interface: names of files and folders, and a stream for each file.

Nothing of a zip is unpacked to disk, and nothing in it is trusted. Its directory is checked before
the first byte is inflated. It may have no entry that would leave its folder, no link, no password,
no size that is too large for a data set, and no compression but deflate. Of deflate `zipfile`
inflates only as much as the directory declares, and then compares a checksum. Of bzip2 it does not:
466 bytes that declared a thousand took 1.2 GiB of memory.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from fer_tune.errors import DataError

DEPTH = 5
"""How deep folders are searched, which also ends loops of links."""

MAX_ENTRIES = 500_000
"""Files in a zip. FER2013 has 35,887."""

MAX_BYTES = 4 << 30
"""Inflated bytes of a whole zip. The competition's download has 0.9 GB."""

MAX_RATIO = 200
"""Inflated size divided by compressed size. Pixels as text reach 4, black images 100."""

MAX_DEPTH = 32
"""Folders above a file in a zip. A name of 64 KiB could have 32,000."""

RATIO_FROM = 64 << 20
"""Inflated size from which the ratio counts. A smaller zip does no harm."""


class Container(Protocol):
    """Files below one root.

    Attributes:
        shown: what to call the container in messages.
        files: relative paths with forward slashes, sorted, without hidden files.
        folders: relative paths of all folders, including empty ones.
    """

    shown: str
    files: list[str]
    folders: list[str]

    def open(self, name: str) -> IO[bytes]:
        """Returns a stream over one file. Read from it within `damaged`."""
        ...

    def at(self, name: str) -> str:
        """Returns what to call a file in messages."""
        ...


@contextmanager
def damaged(where: str) -> Iterator[None]:
    """Turns the errors of reading a broken file or zip into a DataError that names it."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, UnicodeError) as error:
        # the last two: an entry whose header is cut off, or whose name is not valid text
        raise DataError(
            f"{where}: truncated or damaged ({error or 'it ends too early'})", "Download or copy the file again."
        ) from error
    except NotImplementedError as error:
        raise DataError(f"{where}: {error}", "Pack the zip again with ordinary compression (deflate).") from error
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror or error})") from error


class Folder:
    """A folder on disk."""

    def __init__(self, root: Path) -> None:
        self.shown = printable(str(root))
        self._root = root
        self.files: list[str] = []
        self.folders: list[str] = []
        with damaged(self.shown):
            self._walk(root, PurePosixPath(), DEPTH)
        self.files.sort()
        self.folders.sort()

    def open(self, name: str) -> IO[bytes]:
        return (self._root / name).open("rb")

    def path(self, name: str) -> Path:
        """Returns the path of a file."""
        return self._root / name

    def at(self, name: str) -> str:
        return printable(str(self._root / name))

    def _walk(self, folder: Path, relative: PurePosixPath, depth: int) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _hidden(entry.name):
                    continue
                name = relative / entry.name
                if entry.is_dir():
                    self.folders.append(str(name))
                    if depth:
                        self._walk(folder / entry.name, name, depth - 1)
                elif entry.is_file():
                    self.files.append(str(name))


class Zip:
    """A zip file, read in place. Several threads may open streams.

    Raises:
        DataError: it is truncated, or its directory holds something dangerous.
    """

    def __init__(self, path: Path) -> None:
        self.shown = printable(str(path))
        with damaged(self.shown):
            try:
                self._zip = zipfile.ZipFile(path)
            except ValueError as error:  # nonsense in the directory
                raise zipfile.BadZipFile(str(error)) from error
        self._lock = threading.Lock()
        try:
            self._read_directory()
        except DataError:
            self.close()
            raise

    def _read_directory(self) -> None:
        entries = self._zip.infolist()
        _check_sizes(self.shown, entries)
        for entry in entries:
            _check_entry(self.shown, entry)
        names = [entry.filename for entry in entries if not any(map(_hidden, entry.filename.split("/")))]
        self.files = sorted(name for name in names if not name.endswith("/"))
        if len(set(self.files)) != len(self.files):
            raise DataError(f"{self.shown}: two entries have the same name", "Pack the zip again.")
        folders = {str(parent) for name in self.files for parent in PurePosixPath(name).parents}
        folders |= {name.rstrip("/") for name in names if name.endswith("/")}
        self.folders = sorted(folders - {"."})

    def open(self, name: str) -> IO[bytes]:
        with self._lock:
            return self._zip.open(name)

    def close(self) -> None:
        """Closes the file. No stream can be read any more."""
        self._zip.close()

    def at(self, name: str) -> str:
        return f"{self.shown}, entry {printable(name)}"


def printable(name: str) -> str:
    """Returns a file's name that a terminal can show, with escapes for what is not printable."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)


def _hidden(name: str) -> bool:
    """Returns whether a name is a dot file, or what macOS adds to zips."""
    return name.startswith(".") or name == "__MACOSX"


def _check_sizes(shown: str, entries: list[zipfile.ZipInfo]) -> None:
    hint = "This is not a data set of faces. Do not trust this file."
    if len(entries) > MAX_ENTRIES:
        raise DataError(f"{shown}: {len(entries):,} entries, more than the limit of {MAX_ENTRIES:,}", hint)
    inflated = sum(entry.file_size for entry in entries)
    if inflated > MAX_BYTES:
        raise DataError(f"{shown}: inflates to {inflated / 2**30:.1f} GiB, more than {MAX_BYTES >> 30}", hint)
    compressed = max(1, sum(entry.compress_size for entry in entries))
    if inflated > RATIO_FROM and inflated > MAX_RATIO * compressed:
        raise DataError(f"{shown}: inflates {inflated // compressed:,} times, more than {MAX_RATIO}", hint)


def _check_entry(shown: str, entry: zipfile.ZipInfo) -> None:
    where = f"{shown}, entry {entry.filename!r}"
    # orig_filename, because zipfile changes separators and cuts names at a zero byte
    parts = entry.orig_filename.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or ":" in parts[0] or "\0" in entry.orig_filename:
        raise DataError(f"{where} leaves its folder", "Do not trust this file.")
    if len(parts) > MAX_DEPTH:
        raise DataError(f"{printable(where[:200])}: in more than {MAX_DEPTH} folders", "Do not trust this file.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        method = {12: "bzip2", 14: "lzma"}.get(entry.compress_type, f"method {entry.compress_type}")
        raise DataError(
            f"{where} is compressed by {method}, which fer-tune does not read",
            "Pack the zip again with ordinary compression (deflate).",
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise DataError(f"{where} is a link", "Pack the files themselves.")
    if entry.flag_bits & 0x1:
        raise DataError(f"{where} needs a password", "Unpack the zip, and give the folder instead.")
