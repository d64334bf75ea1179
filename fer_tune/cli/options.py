"""Options that several commands share, and exit codes."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fer_tune.api import open_store, study_name
from fer_tune.errors import SettingsError

PROBLEMS = 1
BAD_INPUT = 2
NOTHING_COMPLETED = 3
INTERRUPTED = 130
"""Exit codes, beside 0.

`fer-tune doctor` found problems; bad usage or input; no trial completed; Ctrl-C.
"""

Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="The database. Default: FER_TUNE_STORAGE, else SQLite in FER_TUNE_DIR.",
        show_default=False,
    ),
]
StudyName = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="The study. Not needed if there is only one.", show_default=False),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the sweep, such as lr=0.01. Repeatable."),
]
Wandb = Annotated[
    Literal["online", "offline", "disabled"] | None,
    typer.Option("--wandb", help="Default: online with a wandb key, else offline.", show_default=False),
]
LaneCount = Annotated[
    str | None,
    typer.Option(
        "--lanes", metavar="N|auto", help="Trainings at once on a worker; auto measures it.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

__all__ = ["AsJson", "Changes", "LaneCount", "Storage", "StudyName", "Wandb", "only_one", "open_store", "study_name"]


def only_one(**flags: bool) -> None:
    """Refuses options that exclude one another.

    Raises:
        SettingsError: more than one of them is set.
    """
    given = [f"--{name}" for name, value in flags.items() if value]
    if len(given) > 1:
        raise SettingsError(f"{' and '.join(given)} exclude one another.", "Give one of them.")
