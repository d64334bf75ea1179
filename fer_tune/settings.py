"""The storage folder, the database, and the environment variables that move them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

STUDY_NAME = r"(?!\.)[A-Za-z0-9._-]{0,63}[A-Za-z0-9_-]"
"""A study's name is part of file names, so it cannot name another folder or a hidden file."""


def at_home(path: str) -> Path:
    """Returns `path` with `~` expanded.

    A user without a home, as in some containers, keeps the `~`.
    """
    return Path(os.path.expanduser(path))


def sqlite_url(path: Path) -> str:
    """Returns the SQLAlchemy URL of an SQLite file.

    It is quoted as `sqlalchemy.URL.create` quotes it, because SQLAlchemy reads `?` as the start of
    a query and decodes `%20`. This module does not import SQLAlchemy, which would slow down
    `--help`.
    """
    return f"sqlite:///{quote(path.as_posix(), safe='/ ')}"


@dataclass(frozen=True)
class Settings:
    """Paths of one installation.

    Attributes:
        root: the storage folder. fer-tune writes everything below it.
        url: SQLAlchemy URL of the database. It holds Optuna's tables and ours.
        data_source: the value of `FER_TUNE_DATA`, or None.
    """

    root: Path
    url: str
    data_source: str | None = None

    @classmethod
    def from_environment(cls, url: str | None = None) -> Settings:
        """Reads FER_TUNE_DIR (default `storage`), FER_TUNE_STORAGE and FER_TUNE_DATA.

        Args:
            url: the database, in place of FER_TUNE_STORAGE.
        """
        root = Path(os.environ.get("FER_TUNE_DIR") or "storage")
        url = url or os.environ.get("FER_TUNE_STORAGE") or sqlite_url(root / "fer_tune.db")
        return cls(root=root, url=url, data_source=os.environ.get("FER_TUNE_DATA") or None)

    @property
    def data(self) -> Path:
        """Folder into which the user puts the downloaded data set."""
        return self.root / "data"

    @property
    def cache(self) -> Path:
        """Folder of parsed data sets and splits, named by their content."""
        return self.root / "cache"

    @property
    def artifacts(self) -> Path:
        """Folder of the files that jobs leave."""
        return self.root / "artifacts"

    @property
    def pictures(self) -> Path:
        """The `--artifact-dir` of optuna-dashboard: pictures of trials, and uploads of users."""
        return self.artifacts / "dashboard"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints. A checkpoint is deleted when its job has ended."""
        return self.root / "checkpoints"

    @property
    def locks(self) -> Path:
        """Folder of lock files, one for each study that is running."""
        return self.root / "locks"

    @property
    def families(self) -> Path:
        """Folder of the users' files with families, named by their content."""
        return self.root / "families"

    @property
    def weights(self) -> Path:
        """Folder of the weights that networks start from, named by their content."""
        return self.root / "weights"

    @property
    def logs(self) -> Path:
        """Folder of logs, one for each worker."""
        return self.root / "logs"

    @property
    def wandb(self) -> Path:
        """Folder of wandb's offline runs."""
        return self.root / "wandb"

    def job_folder(self, study: str, study_uid: str, uid: str) -> Path:
        """Files that one job leaves. No other job, study or database has the same folder."""
        return self.artifacts / f"{study}-{study_uid}" / uid

    def checkpoint_folder(self, study: str, study_uid: str) -> Path:
        """Checkpoints of one study's jobs."""
        return self.checkpoints / f"{study}-{study_uid}"
