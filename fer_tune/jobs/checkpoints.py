"""Checkpoint files of a study: their paths, and the removal of those that no job needs."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

SUFFIX = ".safetensors"


def checkpoint_path(folder: Path, uid: str) -> Path:
    """Returns the checkpoint file of a job, from which the job continues."""
    return folder / f"{uid}{SUFFIX}"


def remove_checkpoint(path: Path) -> None:
    """Removes a job's checkpoint, and half-written drafts of it that a killed worker left."""
    with suppress(OSError):  # the next run removes it
        path.unlink(missing_ok=True)
        for name in os.listdir(path.parent):
            if name.startswith(f".{path.name}."):
                path.with_name(name).unlink(missing_ok=True)


def sweep_up(folder: Path, needed: Collection[str]) -> int:
    """Removes all checkpoint files except those of the needed jobs. A killed run leaves such files.

    Call it while no worker of the study's search runs. A final fit may be running, so its uid must
    be in `needed`.

    Args:
        needed: uids of the jobs that have not ended.

    Returns:
        The number of removed checkpoints. Half-written drafts are removed too, but not counted.
    """
    removed = 0
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            uid = path.name.removeprefix(".").partition(".")[0]
            if uid not in needed and path.is_file():
                path.unlink(missing_ok=True)
                removed += not path.name.startswith(".")
    return removed
