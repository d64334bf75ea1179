"""Files below the storage folder: their paths cannot leave it, and a hash says what they
contain."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fer_tune.errors import StorageError

KIND = r"[A-Za-z0-9 ._-]{1,64}"
"""What a kind of artifact may be called."""


def described(root: Path, kind: str, path: Path) -> dict[str, Any]:
    """Returns the columns of an artifact's row: kind, relative path, hash, size and this moment.

    Raises:
        StorageError: the kind is not valid, or the file is missing or outside the storage folder.
    """
    if not re.fullmatch(KIND, kind):
        raise StorageError(
            f"{kind[:80]!a} is not a valid kind of artifact.", "It is 1 to 64 of A-Z a-z 0-9 . _ - and space."
        )
    relative = inside(root, path)
    digest, size = sha256(root / relative)
    values = {"kind": kind, "path": relative.as_posix(), "sha256": digest, "bytes": size}
    return values | {"created": datetime.now(UTC)}


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
    """`path` relative to `root` where it lies below it, else absolute: what a record keeps of a
    path."""
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
