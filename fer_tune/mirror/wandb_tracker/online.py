"""Runs on wandb's server: rows as they are recorded, each once, whatever was killed meanwhile.

The server knows best what it has. A run is always opened to be resumed: wandb first asks how far
the server is, and only later rows are sent. wandb takes rows without a receipt and sends them when
it can. So a run that is over counts as brought when the server, asked again, has all its rows.

wandb's steps only rise, and a row that the server has cannot be changed. When a retry trains an
epoch again after its row was sent, wandb keeps the first row, and the database and offline runs
have the second. Training depends on the seed and the epoch alone, so the two rows are equal on a
CPU and close on a GPU. The summary comes from the database, so it has the figures that count.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb

from fer_tune.mirror.tracker import Run
from fer_tune.mirror.wandb_tracker.client import (
    REQUEST_TIMEOUT,
    begin,
    discard,
    folders,
    log,
    log_bundle,
    synced_mark,
)

UPLOAD_TIMEOUT = 300
"""Seconds that the upload of one artifact may take."""

CONFIRM_PAUSES = (0.0, 1.0, 3.0)
"""Seconds before each question whether the server has a run. It may need a moment to count rows."""

ENDED = ("finished", "failed")
"""States in which wandb's server has a run that is over."""


class UnconfirmedError(Exception):
    """wandb took a run, but its server does not have it all. The mirror brings it again later."""


@dataclass
class _Open:
    target: Any
    epoch: int
    """The last epoch that was sent, now or earlier."""


class OnlineRuns:
    """Brings runs to the server. Those that are not over stay open for later rows."""

    live = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: dict[str, _Open] = {}
        self._api: Any = None

    def bring(self, run: Run) -> None:
        """Sends the rows that the server does not have, and ends the run if it is over.

        Raises:
            wandb.Error, TimeoutError, UnconfirmedError: the server does not answer, refuses, or
            lacks a part.
        """
        if run.id not in self._open:
            discard(self.root, run.id, offline=False)  # left by a mirror that was killed
            target = begin(run, self.root, "online")
            self._open[run.id] = _Open(target, target.starting_step - 1)
        opened = self._open[run.id]
        for row in run.history:
            if row["epoch"] > opened.epoch:
                log(opened.target, row)
                opened.epoch = int(row["epoch"])
        if run.over:
            del self._open[run.id]
            self._end(run, opened.target)

    def left(self, ids: set[str]) -> set[str]:
        """Returns runs that are in offline files and were never uploaded."""
        found = folders(self.root, "*", offline=True)
        return ids & {folder.name.split("-", 3)[3] for folder in found if not synced_mark(folder).exists()}

    def close(self) -> None:
        """Marks the open runs as interrupted: their jobs are not over, and may continue."""
        while self._open:
            run_id, opened = self._open.popitem()
            opened.target.mark_preempting()
            opened.target.finish(exit_code=1)
            discard(self.root, run_id, offline=False)

    def _end(self, run: Run, target: Any) -> None:
        for bundle in run.bundles:
            log_bundle(target, bundle).wait(UPLOAD_TIMEOUT)
        target.tags = run.tags
        target.summary.update(run.summary)
        path = target.path
        target.finish(exit_code=int(run.failed))
        self._confirm(run, path)
        discard(self.root, run.id, offline=False)
        for folder in folders(self.root, run.id, offline=True):
            synced_mark(folder).touch()

    def _confirm(self, run: Run, path: str) -> None:
        """Asks the server for the rows, the end (which follows the summary) and the tags."""
        for pause in CONFIRM_PAUSES:
            time.sleep(pause)
            self._api = self._api or wandb.Api(timeout=REQUEST_TIMEOUT)
            self._api.flush()
            there = self._api.run(path)
            rows = there.historyLineCount
            if rows >= len(run.history) and there.state in ENDED and set(there.tags) == set(run.tags):
                return
        raise UnconfirmedError(f"{run.id}: wandb has {rows} of {len(run.history)} rows; it is {there.state}.")
