"""Files that appear whole or not at all: written beside their place, flushed to the disk, and
renamed."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fer_tune.errors import StorageError

FULL = {errno.ENOSPC, errno.EDQUOT}
"""What a full disk answers."""


def replace_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    replace_file(path, lambda stream: stream.write(text.encode()))


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write(stream)` on a file beside `path`, then moves it into place.

    Raises:
        StorageError: the disk refused, or the path is a folder, a link or a device. Root could
            replace `/dev/null` or `/dev/stdout` with a file, and break the machine.
    """
    with writing(path):
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise StorageError(f"cannot write {path}: it is not a regular file", "Name another file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                write(stream)
                flush(stream)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


def append_text(path: Path, text: str) -> bool:
    """Adds text to a log; returns False where the disk refuses, since no work should be lost over a
    log."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError:
        return False
    return True


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a refusal of the disk into a StorageError."""
    try:
        yield
    except OSError as error:
        full = error.errno in FULL
        hint = "Free some space, or set FER_TUNE_DIR to another folder." if full else "Choose a place to write to."
        raise StorageError(f"cannot write {path}: {error.strerror or error}", hint) from error


def flush(stream: IO[Any]) -> None:
    """Makes the disk take what was written."""
    stream.flush()
    os.fsync(stream.fileno())
