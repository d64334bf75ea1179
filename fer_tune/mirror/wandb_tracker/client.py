"""How wandb is asked for a run; this module and the two that write runs are the only ones that import wandb."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import wandb

from fer_tune.mirror.tracker import Bundle, Run

INIT_TIMEOUT = 10.0
"""Seconds that wandb waits for its server before it gives up on beginning a run; 90 by default."""

FINISH_TIMEOUT = 20.0
"""Seconds that wandb may take to hand over what is left of a run that ends; for ever by default."""

TRANSMIT = 5.0
"""Seconds in which wandb gathers rows before it sends them; 15 by default, and more later."""

REQUEST_TIMEOUT = 10.0
REQUEST_RETRIES = 3
"""Seconds for one question to the server, and how often it is asked again: the mirror comes back by itself."""


def project() -> str:
    """The project that runs are filed in."""
    return os.environ.get("WANDB_PROJECT") or "fer-tune"


def begin(run: Run, root: Path, mode: Literal["online", "offline"]) -> Any:
    """wandb's run for ours, with `epoch` as the axis of everything that will be logged.

    Online it goes on from what the server has of it: `starting_step` is the first step that the server has not.

    Raises:
        wandb.Error: the server does not answer, or refuses.
    """
    root.mkdir(parents=True, exist_ok=True)
    begun = wandb.init(
        project=project(),
        dir=str(root),
        mode=mode,
        id=run.id,
        name=run.name,
        group=run.group,
        job_type=run.job_type,
        tags=list(run.tags),
        config=run.config,
        resume="allow" if mode == "online" else None,  # offline, there is nothing to resume from
        reinit="create_new",
        settings=_lean(),
    )
    begun.define_metric("epoch")
    begun.define_metric("*", step_metric="epoch")
    return begun


def log(to: Any, row: dict[str, float]) -> None:
    """Hands a row over as the step of its epoch; without `commit` it would wait for the next one."""
    to.log(row, step=int(row["epoch"]), commit=True)


def log_bundle(to: Any, bundle: Bundle) -> Any:
    """Hands an artifact over; its files stay where they are until they are uploaded."""
    artifact = wandb.Artifact(bundle.name, bundle.type)
    for file in bundle.files:
        artifact.add_file(str(file), policy="immutable")  # not copied: nobody changes them
    return to.log_artifact(artifact)


def folders(root: Path, run_id: str, offline: bool) -> Iterator[Path]:
    """wandb's folders of a run below the storage folder."""
    return (root / "wandb").glob(f"{'offline-' if offline else ''}run-*-{run_id}")


def discard(root: Path, run_id: str, offline: bool) -> None:
    """Removes wandb's folders of a run; what they say stands in the database."""
    for folder in folders(root, run_id, offline):
        shutil.rmtree(folder, ignore_errors=True)


def synced_mark(folder: Path) -> Path:
    """The file by which wandb's own commands know that an offline run was uploaded."""
    run_id = folder.name.split("-", 3)[3]
    return folder / f"run-{run_id}.wandb.synced"


def _lean() -> Any:
    """Nothing but the run: no console capture, no machine statistics, no code, no requirements; bounded waits."""
    return wandb.Settings(
        silent=True,
        console="off",
        symlink=False,
        disable_git=True,
        disable_code=True,
        init_timeout=INIT_TIMEOUT,
        finish_timeout=FINISH_TIMEOUT,
        finish_timeout_raises=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_save_requirements=False,
        x_file_stream_transmit_interval=TRANSMIT,
        x_graphql_timeout_seconds=REQUEST_TIMEOUT,
        x_graphql_retry_max=REQUEST_RETRIES,
        x_graphql_retry_wait_min_seconds=0.5,
        x_graphql_retry_wait_max_seconds=2.0,
        x_transaction_log_flush_interval=1,
    )
