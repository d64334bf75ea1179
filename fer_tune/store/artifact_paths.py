"""Paths and hashes of artifacts, which are always below the storage folder."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fer_tune.errors import StorageError

KIND = r"[A-Za-z0-9 ._-]{1,64}"
"""A regular expression for valid kinds of artifacts."""


def described(root: Path, kind: str, path: Path) -> dict[str, Any]:
    """Returns the columns of an artifact's row: kind, relative path, hash, size and present time.

    Raises:
        StorageError: the kind is not valid, or the file is missing or outside the storage folder.
    """
    if not re.fullmatch(KIND, kind):
        raise StorageError(
            f"{kind[:80]!a} is not a valid kind of artifact.",
            "Use 1 to 64 of the characters A-Z a-z 0-9 . _ - and space.",
        )
    relative = inside(root, path)
    digest, size = sha256(root / relative)
    values = {"kind": kind, "path": relative.as_posix(), "sha256": digest, "bytes": size}
    return values | {"created": datetime.now(UTC)}


def inside(root: Path, path: Path) -> Path:
    """Returns `path` relative to `root`, with links and `..` resolved.

    A relative `path` is below `root` if such a file exists, else below the working folder.

    Raises:
        StorageError: the path is outside of `root`, or is not a valid path.
    """
    whole = path if path.is_absolute() else root / path
    base = root.resolve()
    try:
        if not path.is_absolute() and not whole.exists() and path.exists():
            whole = path.absolute()
        resolved = whole.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a zero byte, or an incomplete character
        raise StorageError(f"{str(path)!a} is not a valid path: {error}.") from error
    if not resolved.is_relative_to(base) or resolved == base:
        raise StorageError(
            f"The artifact {path} is outside the storage folder {root}.", "Write artifacts below that folder."
        )
    return resolved.relative_to(base)


def file_below(root: Path, name: str) -> Path:
    """Returns the path of the file that a record or an archive calls `name`, which need not exist.

    Raises:
        StorageError: the path is outside of `root`, or is not a valid path.
    """
    base = root.resolve()  # `inside` looks for a relative path in the working folder too
    return root / inside(base, base / name)


def below(root: Path, path: Path) -> str:
    """Returns a path as records keep it: relative if it is below `root`, else absolute."""
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return path.resolve().as_posix()


def sha256(path: Path) -> tuple[str, int]:
    """Returns the SHA-256 hash (64 hex digits) and the size in bytes of a file.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return digest, file.tell()
    except OSError as error:
        raise StorageError(f"The file {path} cannot be read: {error.strerror}.") from error
