"""Runs as wandb's offline files: a folder for each run, which `wandb sync` and `fer-tune sync` can upload."""

from __future__ import annotations

from pathlib import Path

from fer_tune.mirror.client import begin, discard, log, log_bundle
from fer_tune.mirror.content import Run


class OfflineRuns:
    """Writes runs below `root`/wandb.

    An offline run cannot be gone on with: wandb begins a second folder, and what a killed process had not flushed is
    lost. So a run is written whole, once its trial is over, and in place of whatever lies there of it. Of a trial that
    is not over when the mirror ends, what is recorded is written too, and replaced when the trial has gone on.
    """

    live = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def bring(self, run: Run) -> None:
        """Writes the run whole, and returns when it is on the disk."""
        discard(self.root, run.id, offline=True)
        target = begin(run, self.root, "offline")
        for row in run.history:
            log(target, row)
        for bundle in run.bundles:
            log_bundle(target, bundle)
        target.summary.update(run.summary)
        target.finish(exit_code=int(run.failed))

    def left(self, prefix: str) -> set[str]:
        """None: nothing needs to be written again because it is on the server too."""
        return set()

    def close(self) -> None:
        """No run stays open."""
