"""Runs as wandb's offline files: a folder for each run, which `wandb sync` and `fer-tune sync` can upload."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from pathlib import Path

from wandb.util import get_core_path

from fer_tune.errors import StorageError
from fer_tune.mirror.tracker import Run
from fer_tune.mirror.wandb_tracker.client import begin, discard, folders, log, log_bundle

FLUSHED_WITHIN = 3.0
"""Seconds after its end in which a run's file is whole: wandb may flush it each second (see `client`)."""

READ_WITHIN = 60.0
"""Seconds in which wandb's reader has read a run; it takes some hundredths of one."""


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
        """Writes the run whole, and returns when it is on the disk.

        Raises:
            StorageError: it is not there whole.
        """
        discard(self.root, run.id, offline=True)
        target = begin(run, self.root, "offline")
        for row in run.history:
            log(target, row)
        for bundle in run.bundles:
            log_bundle(target, bundle)
        target.summary.update(run.summary)
        target.finish(exit_code=int(run.failed))
        self._require_whole(run)

    def left(self, prefix: str) -> set[str]:
        """None: nothing needs to be written again because it is on the server too."""
        return set()

    def close(self) -> None:
        """No run stays open."""

    def _require_whole(self, run: Run) -> None:
        """Reads the run back: of a disk that was full meanwhile wandb says nothing."""
        deadline = time.monotonic() + FLUSHED_WITHIN
        while not any(
            _whole(folder / f"run-{run.id}.wandb", run) for folder in folders(self.root, run.id, offline=True)
        ):
            if time.monotonic() > deadline:
                raise StorageError(
                    f"wandb's file of run {run.id} was cut off: it lacks rows or its end",
                    "Was the disk full? The mirror writes it again; `fer-tune sync` does so afterwards.",
                )
            time.sleep(0.1)


def _whole(file: Path, run: Run) -> bool:
    """Whether wandb's own reader finds all rows and the end of a run."""
    words = [
        get_core_path(),
        "leet",
        "inspect",
        "--json",
        "-no-observability",
        "-run-file",
        str(file),
        str(file.parent),
    ]
    read = subprocess.run(words, capture_output=True, text=True, timeout=READ_WITHIN, check=False)
    kinds = Counter(json.loads(line)["type"] for line in read.stdout.splitlines() if line.startswith("{"))
    return (kinds["history"], kinds["exit"]) == (len(run.history), 1)
