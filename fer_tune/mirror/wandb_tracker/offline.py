"""Runs as wandb's offline files: a folder for each run.

`wandb sync` and `fer-tune sync` can upload them.
"""

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
"""Seconds after a run's end until its file must be whole. wandb flushes it each second (`client`).
"""

READ_WITHIN = 60.0
"""Seconds that wandb's reader may take for a run. It needs some hundredths of a second."""


class OfflineRuns:
    """Writes runs below `root`/wandb.

    wandb cannot resume a run offline: it begins a second folder. A killed process loses the rows
    that it had not flushed. So this class writes a run whole, when its job is over, and replaces
    any earlier copy. When the mirror ends, it also writes the jobs that are not over. A later
    mirror replaces those runs.
    """

    live = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def bring(self, run: Run) -> None:
        """Writes the run whole, and returns when it is on the disk.

        Raises:
            StorageError: the file lacks rows or its end.
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

    def left(self, ids: set[str]) -> set[str]:
        """Returns nothing: a run that is on the server needs no file."""
        return set()

    def close(self) -> None:
        """Does nothing: no run stays open."""

    def _require_whole(self, run: Run) -> None:
        """Reads the run back, because wandb does not report a full disk."""
        deadline = time.monotonic() + FLUSHED_WITHIN
        while not any(
            _whole(folder / f"run-{run.id}.wandb", run) for folder in folders(self.root, run.id, offline=True)
        ):
            if time.monotonic() > deadline:
                raise StorageError(
                    f"wandb's file of run {run.id} is cut off: it lacks rows or its end.",
                    "The disk may have been full. The mirror or `fer-tune sync` writes the file again.",
                )
            time.sleep(0.1)


def _whole(file: Path, run: Run) -> bool:
    """Returns whether wandb's own reader finds all rows and the end of a run."""
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
