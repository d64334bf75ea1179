"""A study's checkpoints as files: where they lie, and which of them nothing needs any more."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from fer_tune.settings import Settings


class Checkpoints:
    """One study's folder of checkpoints.

    A checkpoint belongs to a configuration's seed, which all its trials share: a trial that is queued again has
    another number and the same seed.

    Args:
        uid: the study's, which tells it from a study of the same name in another database.
    """

    def __init__(self, settings: Settings, study: str, uid: str) -> None:
        self.folder = settings.checkpoints / f"{study}-{uid}"

    def path(self, seed: int) -> Path:
        """The file from which the trial with this seed goes on."""
        return self.folder / f"{seed}.safetensors"

    def remove(self, seed: int) -> None:
        """The trial is told: its checkpoint goes, and what a worker that was killed while it wrote one left of it."""
        with suppress(OSError):  # the next run sweeps it up
            self.path(seed).unlink(missing_ok=True)
            for draft in self.folder.glob(f".{seed}.safetensors.*"):
                draft.unlink(missing_ok=True)

    def sweep_up(self, needed: Collection[int]) -> int:
        """Removes what a killed run left: all but the needed seeds' checkpoints, and what was set aside of them.

        To be called while no worker runs. Returns how many checkpoints went; halves of files are not counted.
        """
        kept = {self.path(seed).name for seed in needed}
        removed = 0
        with suppress(OSError):
            for path in sorted(self.folder.iterdir()):
                if path.name.removesuffix(".torn") not in kept and path.is_file():
                    path.unlink(missing_ok=True)
                    removed += not path.name.startswith(".")
        return removed
