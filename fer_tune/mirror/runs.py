"""Runs as wandb keeps them; the only module that imports wandb."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import wandb

from fer_tune.mirror.copying import Run

PROJECT = "fer-tune"
"""Unless WANDB_PROJECT names another."""

INIT_TIMEOUT = 20.0
"""Seconds that wandb waits for its server before it gives up on a run; 90 by default."""


class WandbRuns:
    """Writes runs to wandb's server, or as offline runs under `root`/wandb."""

    def __init__(self, root: Path, online: bool) -> None:
        self.root = root
        self.online = online
        root.mkdir(parents=True, exist_ok=True)

    def write(self, run: Run) -> None:
        """Writes the run whole, and returns when it is on the disk or handed to the server.

        Raises:
            wandb.Error: the server does not answer, or refuses.
        """
        if not self.online:
            self._discard_unfinished(run.id)
        target = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            dir=str(self.root),
            mode="online" if self.online else "offline",
            id=run.id,
            name=run.name,
            group=run.group,
            job_type="trial",
            tags=list(run.tags),
            config=run.config,
            resume="allow" if self.online else None,  # the server keeps a run that was written in part
            reinit="create_new",
            settings=_lean(),
        )
        target.define_metric("epoch")
        target.define_metric("*", step_metric="epoch")
        for row in run.history:
            target.log(row, step=int(row["epoch"]))  # the server drops a step that it has
        target.summary.update(run.summary)
        target.finish()

    def _discard_unfinished(self, run_id: str) -> None:
        """Removes what a mirror that was killed had written of this run: the run is written anew."""
        for folder in (self.root / "wandb").glob(f"offline-run-*-{run_id}"):
            shutil.rmtree(folder)


def _lean() -> Any:
    """Nothing but the run: no console capture, no machine statistics, no code, no requirements."""
    return wandb.Settings(
        silent=True,
        console="off",
        symlink=False,
        disable_git=True,
        disable_code=True,
        init_timeout=INIT_TIMEOUT,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_save_requirements=False,
        x_transaction_log_flush_interval=1,
    )
