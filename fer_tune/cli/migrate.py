"""`fer-tune migrate`: copies all studies to another database, and compares the copy row by row."""

from __future__ import annotations

from typing import Annotated

import typer

from fer_tune import api
from fer_tune.display import terminal

EXAMPLES = ("fer-tune migrate --to postgresql+psycopg://user@host/fer_tune",)


def migrate(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The other database.", show_default=False)],
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="The database. Default: as --storage of other commands."),
    ] = None,
) -> None:
    """Copy all studies to another database, such as from SQLite to PostgreSQL, and check the copy.

    The files of the studies stay in FER_TUNE_DIR. If it is killed, run the same command again.
    """
    copied = api.migrate(to, storage=source)
    was = "was" if copied.jobs == 1 else "were"
    jobs = f"{terminal.many(copied.jobs, 'job')} {was} {'there already' if copied.already else 'copied'}"
    terminal.note(f"{', '.join(copied.studies)}: {jobs}. {copied.rows:,} rows were read back and are equal.")
    terminal.note("Name the new database from now on: --storage or FER_TUNE_STORAGE. The old one can only be read.")
