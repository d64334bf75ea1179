"""`fer-tune restore`: puts a backup in the place of the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_tune import api
from fer_tune.cli.options import Storage
from fer_tune.display import terminal

EXAMPLES = ("fer-tune restore storage/backups/fer_tune.db", "fer-tune restore copy.tar --replace")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `fer-tune backup` wrote.", show_default=False)],
    replace: Annotated[bool, typer.Option("--replace", help="Move a database that is there aside.")] = False,
    storage: Storage = None,
) -> None:
    """Restore a backup into FER_TUNE_DIR."""
    restored = api.restore(file, replace=replace, storage=storage)
    files = f", and {restored.files} artifacts" if restored.files else ""
    terminal.note(f"{restored.path} was restored from {file}{files}.")
    if restored.kept is not None:
        terminal.note(f"The database that was there is now {restored.kept}.")
