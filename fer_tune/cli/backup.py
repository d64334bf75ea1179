"""`fer-tune backup`: copies the database, and the artifacts if they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_tune import api
from fer_tune.cli.options import Storage
from fer_tune.display import terminal

EXAMPLES = ("fer-tune backup", "fer-tune backup --to /mnt/copies --artifacts")


def backup(
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="A new file, or a folder. Default: backups/ in the storage folder."),
    ] = None,
    artifacts: Annotated[bool, typer.Option("--artifacts", help="Include models and all other artifacts.")] = False,
    storage: Storage = None,
) -> None:
    """Copy the database into one file, also during a run, and check the copy.

    `fer-tune restore FILE` puts it back.
    """
    made = api.backup(to, artifacts=artifacts, storage=storage)
    parts = [terminal.many(made.studies, "study", "studies"), terminal.many(made.jobs, "job", "jobs")]
    parts += [terminal.many(made.files, "artifact", "artifacts")] if artifacts else []
    terminal.note(f"{made.path}: {', '.join(parts)}; {made.bytes / 2**20:.1f} MiB, read back and found whole.")
    for path in made.missing:
        terminal.note(f"{path} is recorded, but the storage folder does not have it as it was recorded.")
