"""The files of one worker on a node that does not share the orchestrator's storage.

<temporary folder>/fer-tune-<user>/
    images/<signature>-<split>/     a data set and its split, kept for all workers and runs
    families/, weights/             what families need; see `models.families.keep`
    lanes.json                      how many lanes are worth it on this node
    workers/<random>/               checkpoints and artifacts of a worker's jobs, while it lives

A worker's folder is locked. So a folder without a lock is one that a killed worker left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_tune.files import draft_folder, replace_file
from fer_tune.job import Job
from fer_tune.models.families import kept_files
from fer_tune.settings import Settings

SPLIT = "split.npz"

Images = Mapping[str, Any]
"""The content of each file of a data set, and of its split, as uint8 arrays."""

FamilyFiles = Mapping[str, Any]
"""The content of each file that a family needs, by its path in the storage folder."""


def pack_images(job: Job) -> dict[str, Any]:
    """Returns the files of a job's data set and its split. Files that are missing are left out:
    the job then says so itself."""
    files = sorted(job.data.cache.glob("*.*")) if job.data.cache.is_dir() else []
    found = {path.name: np.fromfile(path, np.uint8) for path in files}
    if job.data.split.is_file():
        found[SPLIT] = np.fromfile(job.data.split, np.uint8)
    return found


def pack_family(job: Job) -> dict[str, Any]:
    """Returns the files that a job's family needs. One that is missing is left out: the job then
    says so itself."""
    settings = Settings.from_environment()
    files = kept_files(job.family, settings)
    return {path.relative_to(settings.root).as_posix(): np.fromfile(path, np.uint8) for path in files}


class NodeFiles:
    """The node's folder of a worker, which is that worker's storage folder.

    Args:
        root: the folder of all workers of this user on the node.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or _private_folder()
        workers = self.root / "workers"
        workers.mkdir(parents=True, exist_ok=True)
        _remove_orphans(workers)
        self._own, self._lock = _locked_folder(workers)
        self._checkpoints: dict[str, tuple[int, int]] = {}

    @property
    def lanes(self) -> Path:
        """The file in which workers with `auto` lanes keep what they measured."""
        return self.root / "lanes.json"

    @property
    def log(self) -> Path:
        """The log of the worker's process."""
        return self._own / "worker.log"

    def place(self, job: Job, images: Images, checkpoint: Any | None, family: FamilyFiles | None = None) -> Job:
        """Writes the files that a job needs, and returns the job with the node's paths."""
        folder = self._images(job, images)
        for name, content in (family or {}).items():
            path = self.root / name
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, lambda stream, content=content: stream.write(content))  # type: ignore[misc]
        if job.checkpoint is not None:
            self._checkpoint(job.uid).unlink(missing_ok=True)
        if checkpoint is not None:
            replace_file(self._checkpoint(job.uid), lambda stream: stream.write(checkpoint))
        self._checkpoints[job.uid] = self._stamp(job.uid)
        return replace(
            job,
            data=replace(job.data, cache=folder, split=folder / SPLIT),
            artifacts=None if job.artifacts is None else self._own / job.uid,
            checkpoint=None if job.checkpoint is None else self._checkpoint(job.uid),
        )

    def new_checkpoint(self, uid: str) -> Any | None:
        """Returns the content of a job's checkpoint if it is new since the last call, else None."""
        stamp = self._stamp(uid)
        if uid not in self._checkpoints or stamp in ((0, 0), self._checkpoints[uid]):
            return None
        self._checkpoints[uid] = stamp
        with suppress(OSError):
            return np.fromfile(self._checkpoint(uid), np.uint8)
        return None

    def forget(self, uid: str) -> None:
        """Removes the files of a job that has ended."""
        self._checkpoints.pop(uid, None)
        with suppress(OSError):
            self._checkpoint(uid).unlink(missing_ok=True)
        shutil.rmtree(self._own / uid, ignore_errors=True)

    def close(self) -> None:
        """Removes the files of the worker. The images stay."""
        shutil.rmtree(self._own, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _checkpoint(self, uid: str) -> Path:
        return self._own / f"{uid}.safetensors"

    def _stamp(self, uid: str) -> tuple[int, int]:
        try:
            found = self._checkpoint(uid).stat()
        except OSError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    def _images(self, job: Job, images: Images) -> Path:
        """Returns the folder of the images, which one worker of the node writes."""
        target = self.root / "images" / f"{job.data.signature[:32]}-{job.data.split_hash[:32]}"
        if _holds(target, images):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(target) as draft:
            for name, content in images.items():
                (draft / name).write_bytes(content)
            if not _holds(target, images):
                shutil.rmtree(target, ignore_errors=True)
            with suppress(OSError):  # another worker was faster
                draft.rename(target)
        return target


def _holds(folder: Path, images: Images) -> bool:
    """Whether a folder has all files, in their sizes. The worker checks their content."""
    try:
        return folder.is_dir() and all((folder / name).stat().st_size == len(images[name]) for name in images)
    except OSError:
        return False


def _private_folder() -> Path:
    """Returns a folder that only this user can write."""
    folder = Path(tempfile.gettempdir()) / f"fer-tune-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix="fer-tune-"))


def _locked_folder(workers: Path) -> tuple[Path, int]:
    """Returns a new folder, and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=workers))
        with suppress(FileNotFoundError):  # another worker removed it before it was locked
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)


def _remove_orphans(workers: Path) -> None:
    """Removes the files of workers that were killed."""
    for folder in list(workers.iterdir()):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
