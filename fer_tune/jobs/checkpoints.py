"""A study's checkpoints as files: where they are, and which of them nothing needs any more."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

SUFFIX = ".safetensors"


def checkpoint_path(folder: Path, uid: str) -> Path:
    """Returns the file from which a job continues."""
    return folder / f"{uid}{SUFFIX}"


def remove_checkpoint(path: Path) -> None:
    """Removes a job's checkpoint, and what a worker left of it that was killed while it wrote
    one."""
    with suppress(OSError):  # the next run sweeps it up
        path.unlink(missing_ok=True)
        for draft in path.parent.glob(f".{path.name}.*"):
            draft.unlink(missing_ok=True)


def sweep_up(folder: Path, needed: Collection[str]) -> int:
    """Removes what a killed run left: all but the needed jobs' files, and what was set aside of
    them.

    Call it while no worker of the study's search runs. A final fit may be running: its files are
    needed.

    Args:
        needed: uids of jobs that are not over.

    Returns:
        How many checkpoints were removed. Halves of files are not counted.
    """
    removed = 0
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            uid = path.name.removeprefix(".").partition(".")[0]
            if uid not in needed and path.is_file():
                path.unlink(missing_ok=True)
                removed += not path.name.startswith(".")
    return removed
