"""Starts wandb's runs, and knows wandb's folders on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import wandb

from fer_tune.mirror.tracker import Bundle, Mode, Run
from fer_tune.mirror.wandb_tracker.environment import project

INIT_TIMEOUT = 10.0
"""Seconds that wandb waits for its server when a run starts. wandb's default is 90."""

FINISH_TIMEOUT = 20.0
"""Seconds that wandb may take to send the rest of a run that ends. wandb's default has no limit."""

TRANSMIT = 5.0
"""Seconds in which wandb collects rows before it sends them. wandb's default is 15 and grows."""

REQUEST_TIMEOUT = 10.0
REQUEST_RETRIES = 3
"""Seconds for one request to the server, and how often wandb repeats it.

The mirror tries again later.
"""


def begin(run: Run, root: Path, mode: Mode) -> Any:
    """Returns wandb's run for ours. `epoch` is the axis of everything that will be logged.

    Online, the run continues: `starting_step` is the first step that the server does not have.

    Raises:
        wandb.Error: the server does not answer, or refuses.
    """
    begun = init(
        root,
        mode,
        id=run.id,
        name=run.name,
        group=run.group,
        job_type=run.job_type,
        tags=list(run.tags),
        config=run.config,
    )
    begun.define_metric("epoch")
    begun.define_metric("*", step_metric="epoch")
    return begun


def init(root: Path, mode: Mode, **about: Any) -> Any:
    """Returns a run of wandb's with our settings, whose files are below `root`.

    Args:
        about: further arguments of `wandb.init`.

    Raises:
        wandb.Error: the server does not answer, or refuses.
    """
    root.mkdir(parents=True, exist_ok=True)
    return wandb.init(
        project=project(),
        dir=str(root),
        mode=mode,
        resume="allow" if mode == "online" else None,  # wandb cannot resume a run offline
        reinit="create_new",
        settings=_lean(),
        **about,
    )


def log(to: Any, row: dict[str, float]) -> None:
    """Logs a row as the step of its epoch. Without `commit` it would wait for the next row."""
    to.log(row, step=int(row["epoch"]), commit=True)


def log_bundle(to: Any, bundle: Bundle) -> Any:
    """Logs an artifact. wandb uploads its files from where they are."""
    artifact = wandb.Artifact(bundle.name, bundle.type)
    for file in bundle.files:
        artifact.add_file(str(file), policy="immutable")  # wandb need not copy it: nobody changes it
    return to.log_artifact(artifact)


def folders(root: Path, run_id: str, offline: bool) -> Iterator[Path]:
    """Yields wandb's folders of a run below the storage folder."""
    return (root / "wandb").glob(f"{'offline-' if offline else ''}run-*-{run_id}")


def discard(root: Path, run_id: str, offline: bool) -> None:
    """Removes wandb's folders of a run. The database has everything that they say."""
    for folder in folders(root, run_id, offline):
        shutil.rmtree(folder, ignore_errors=True)


def synced_mark(folder: Path) -> Path:
    """Returns the file that tells wandb's own commands that an offline run was uploaded."""
    run_id = folder.name.split("-", 3)[3]
    return folder / f"run-{run_id}.wandb.synced"


def _lean() -> Any:
    """Returns settings for nothing but the run, with bounded waits.

    wandb then captures no console, machine statistics, code or requirements.
    """
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
