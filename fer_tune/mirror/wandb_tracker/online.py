"""Runs on wandb's server: rows as they come, each once, whoever was killed in between.

The server has the last word on what it has. A run is always opened to be resumed, so that wandb's first question is
how far the server is, and only later rows are sent. wandb takes rows without a receipt and hands them over when it
can: so a run that is over counts as brought when the server, asked anew, has all its rows.
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
"""Seconds that one artifact may take."""

CONFIRM_PAUSES = (0.0, 1.0, 3.0)
"""Seconds before each question whether the server has a run: it may need a moment to count its rows."""

ENDED = ("finished", "failed")
"""States of a run that wandb's server knows to be over."""


class UnconfirmedError(Exception):
    """wandb took a run, but its server does not have it all; it is brought again later."""


@dataclass
class _Open:
    target: Any
    epoch: int
    """The last one that was handed over, now or before."""


class OnlineRuns:
    """Brings runs to the server; those that are not over stay open for what is still to come."""

    live = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: dict[str, _Open] = {}
        self._api: Any = None

    def bring(self, run: Run) -> None:
        """Sends the rows that the server does not have, and ends the run if it is over.

        Raises:
            wandb.Error, TimeoutError, UnconfirmedError: the server does not answer, refuses, or has not got it all.
        """
        if run.id not in self._open:
            discard(self.root, run.id, offline=False)  # of a mirror that was killed, or gave up
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

    def left(self, prefix: str) -> set[str]:
        """Runs that lie in offline files which nobody uploaded."""
        found = folders(self.root, f"{prefix}-*", offline=True)
        return {folder.name.split("-", 3)[3] for folder in found if not synced_mark(folder).exists()}

    def close(self) -> None:
        """Leaves the open runs as interrupted: their trials are not over, and may go on."""
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
        """Asks the server for what wandb gave no receipt for: the rows, the end (after the summary), the tags."""
        for pause in CONFIRM_PAUSES:
            time.sleep(pause)
            self._api = self._api or wandb.Api(timeout=REQUEST_TIMEOUT)
            self._api.flush()
            there = self._api.run(path)
            rows = there.historyLineCount
            if rows >= len(run.history) and there.state in ENDED and set(there.tags) == set(run.tags):
                return
        raise UnconfirmedError(f"{run.id}: wandb has {rows} of {len(run.history)} rows; it is {there.state}.")
