"""Writes files so that they appear whole or not at all.

A file is written under another name in the same folder, flushed to the disk, and then renamed.
"""

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
"""Error numbers of a full disk."""


def replace_text(path: Path, text: str) -> None:
    """Writes text to a file, whole or not at all. See `replace_file` for the errors."""
    replace_file(path, lambda stream: stream.write(text.encode()))


def replace_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write(stream)` on a new file in the same folder, then renames that file to `path`.

    Raises:
        StorageError: the file cannot be written, or the path is a folder, a link or a device.
    """
    with writing(path):
        # Root could replace /dev/null or /dev/stdout with a file, and so break the machine.
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


def create_text(path: Path, text: str) -> bool:
    """Writes text to a file that does not exist yet, whole or not at all.

    Returns False, with nothing changed, if something has this name. Of several processes that
    create the same file, one returns True.

    Raises:
        StorageError: the file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                flush(stream)
            _link(Path(name), path)
        except FileExistsError:
            return False
        finally:
            Path(name).unlink(missing_ok=True)
    return True


def _link(draft: Path, path: Path) -> None:
    try:
        path.hardlink_to(draft)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS) or os.path.lexists(path):
            raise
        draft.rename(path)  # a file system without hard links


def append_text(path: Path, text: str) -> bool:
    """Adds text to a log. Returns False, and raises nothing, if the log cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError:
        return False
    return True


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an OSError within the context into a StorageError that names `path`."""
    try:
        yield
    except OSError as error:
        full = error.errno in FULL
        hint = (
            "Free some space, or set FER_TUNE_DIR to another folder."
            if full
            else "Choose a folder that can be written."
        )
        raise StorageError(f"cannot write {path}: {error.strerror or error}", hint) from error


def flush(stream: IO[Any]) -> None:
    """Flushes a stream to the disk."""
    stream.flush()
    os.fsync(stream.fileno())
