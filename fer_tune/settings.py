"""Where things lie: the storage folder, the database, and the environment variables that move them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def at_home(path: str) -> Path:
    """`path` with its `~` filled in; as it is where nobody knows the folder: a container's user may have no home."""
    return Path(os.path.expanduser(path))


@dataclass(frozen=True)
class Settings:
    """Paths of one installation.

    Attributes:
        root: the storage folder; everything that fer-tune writes lies under it.
        url: SQLAlchemy URL of the database that holds Optuna's tables and ours.
        data_source: what `FER_TUNE_DATA` names, or None.
    """

    root: Path
    url: str
    data_source: str | None = None

    @classmethod
    def from_environment(cls, url: str | None = None) -> Settings:
        """Reads FER_TUNE_DIR (default `storage`), FER_TUNE_STORAGE and FER_TUNE_DATA; `url` overrides the second."""
        root = Path(os.environ.get("FER_TUNE_DIR") or "storage")
        url = url or os.environ.get("FER_TUNE_STORAGE") or f"sqlite:///{root.as_posix()}/fer_tune.db"
        return cls(root=root, url=url, data_source=os.environ.get("FER_TUNE_DATA") or None)

    @property
    def data(self) -> Path:
        """Where the user puts the downloaded data set."""
        return self.root / "data"

    @property
    def cache(self) -> Path:
        """Parsed data sets and splits, keyed by content."""
        return self.root / "cache"

    @property
    def artifacts(self) -> Path:
        """Files that trials and retrains leave."""
        return self.root / "artifacts"

    @property
    def pictures(self) -> Path:
        """The pictures of trials, and what users upload in the dashboard: its `--artifact-dir`."""
        return self.artifacts / "dashboard"

    @property
    def checkpoints(self) -> Path:
        """Where running and interrupted trials left off; a trial's is deleted when it is told."""
        return self.root / "checkpoints"

    @property
    def locks(self) -> Path:
        """One lock file for each study that is being run."""
        return self.root / "locks"

    @property
    def logs(self) -> Path:
        """One log for each worker."""
        return self.root / "logs"

    @property
    def wandb(self) -> Path:
        """wandb's offline runs."""
        return self.root / "wandb"

    def job_folder(self, study: str, study_uid: str, uid: str) -> Path:
        """Files that one job leaves. No other job, study or database has the same folder."""
        return self.artifacts / f"{study}-{study_uid}" / uid

    def checkpoint_folder(self, study: str, study_uid: str) -> Path:
        """Checkpoints of one study's jobs."""
        return self.checkpoints / f"{study}-{study_uid}"
