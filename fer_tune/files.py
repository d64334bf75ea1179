"""Writes files so that they appear whole or not at all.

A file is written under another name in the same folder, flushed to the disk, and then renamed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from fer_tune.errors import StorageError

DRAFT = ".draft"
"""End of the name of a file or folder that is being written. It begins with a dot."""

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
    with _replacement(path) as (stream, name):
        write(stream)
        flush(stream)
        name.replace(path)


def probe_file(path: Path) -> None:
    """Makes the folder of a file, and writes nothing there.

    Raises:
        StorageError: `replace_file` would refuse this path, or could not write there.
    """
    with _replacement(path):
        pass


@contextmanager
def _replacement(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Yields what `draft` does. It makes the folder, and refuses what must not be replaced."""
    with writing(path):
        # Root could replace /dev/null or /dev/stdout with a file, and so break the machine.
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise StorageError(f"cannot write {path}: it is not a regular file", "Name another file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft(path) as made:
            yield made


def create_text(path: Path, text: str) -> bool:
    """Writes text to a file that does not exist yet, whole or not at all.

    Returns False, with nothing changed, if something has this name. Of several processes that
    create the same file, one returns True.

    Raises:
        StorageError: the file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft(path) as (stream, name):
                stream.write(text.encode())
                flush(stream)
                _link(name, path)
        except FileExistsError:
            return False
    return True


def _link(draft: Path, path: Path) -> None:
    try:
        path.hardlink_to(draft)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS) or os.path.lexists(path):
            raise
        draft.rename(path)  # a file system without hard links


def _new_name(path: Path) -> Path:
    """Returns a name beside `path` that nothing has."""
    return path.with_name(f".{path.name}.{os.urandom(4).hex()}{DRAFT}")


@contextmanager
def draft(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Yields a new file in the folder of `path`, to be renamed to it, and the draft's name.

    The draft is locked. So `remove_drafts` knows one that is being written from one that a killed
    process left.
    """
    while True:
        name = _new_name(path)
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)  # readable by others if the umask allows it
        with os.fdopen(handle, "wb") as stream:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(stream, fcntl.LOCK_EX)
            if not name.exists():  # removed before it was locked
                continue
            try:
                yield stream, name
            finally:
                name.unlink(missing_ok=True)
        return


@contextmanager
def draft_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder beside `path`, whose content may be renamed to it. See `draft`."""
    while True:
        folder = _new_name(path)
        folder.mkdir()
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # removed before it was opened
            continue
        try:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not folder.exists():  # removed before it was locked
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)
        return


def remove_drafts(folder: Path, below: bool = True) -> int:
    """Removes drafts that killed processes left in a folder. Returns how many.

    Args:
        below: whether to look into the folders below it too.
    """
    removed = 0
    for place, folders, names in os.walk(folder):
        left = [name for name in (*folders, *names) if name.startswith(".") and name.endswith(DRAFT)]
        folders[:] = [name for name in folders if below and name not in left]
        removed += sum(_remove_draft(Path(place, name)) for name in left)
    return removed


def _remove_draft(path: Path) -> bool:
    """Removes a draft unless a process is writing it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


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


def current_folder_exists() -> bool:
    """Returns whether the current folder of this process is still there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def flush(stream: IO[Any]) -> None:
    """Flushes a stream to the disk."""
    stream.flush()
    os.fsync(stream.fileno())
