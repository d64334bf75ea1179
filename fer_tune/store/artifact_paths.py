"""Files below the storage folder: their paths cannot leave it, and their content is known by its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fer_tune.errors import StorageError


def inside(root: Path, path: Path) -> Path:
    """`path` relative to `root`, links and `..` resolved.

    A relative `path` counts from `root` if such a file is there, else from the working folder.

    Raises:
        StorageError: it lies outside.
    """
    whole = path if path.is_absolute() else root / path
    base = root.resolve()
    try:
        if not path.is_absolute() and not whole.exists() and path.exists():
            whole = path.absolute()
        resolved = whole.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a zero byte, or half a letter
        raise StorageError(f"{str(path)!a} is no path: {error}.") from error
    if not resolved.is_relative_to(base) or resolved == base:
        raise StorageError(f"{path} lies outside the storage folder {root}.", "Artifacts must lie below it.")
    return resolved.relative_to(base)


def below(root: Path, path: Path) -> str:
    """`path` relative to `root` where it lies below it, else absolute: what a record keeps of a path."""
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return path.resolve().as_posix()


def sha256(path: Path) -> tuple[str, int]:
    """Hash (64 hex digits) and size in bytes of a file.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return digest, file.tell()
    except OSError as error:
        raise StorageError(f"The file {path} cannot be read: {error.strerror}.") from error
