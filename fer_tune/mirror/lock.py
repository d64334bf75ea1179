"""One mirror for each study: two that brought the same run would both send its next row."""

from __future__ import annotations

from fer_tune.errors import StudyError
from fer_tune.settings import Settings
from fer_tune.store import StudyLock
from fer_tune.store.lock import Holder


class MirrorLock(StudyLock):
    """Held by the process that mirrors a study, beside the lock of the one that runs it."""

    kind = "mirror-"

    def __init__(self, settings: Settings, study: str) -> None:
        super().__init__(settings, settings.url, study)

    def acquire(self) -> StudyLock:
        """Takes the lock or refuses at once.

        Raises:
            StudyError: another process mirrors the study.
            StorageError: the lock file cannot be written.
        """
        try:
            return super().acquire()
        except StudyError as error:
            raise busy(self.study, self.holder()) from error


def busy(study: str, holder: Holder | None) -> StudyError:
    """What is said where a study is being mirrored already."""
    who = str(holder) if holder else "another process"
    return StudyError(
        f"The study {study} is being mirrored by {who}.", "It brings wandb up to date by itself, while it runs."
    )
