"""Options that several commands share, and exit codes."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from fer_tune.api.arguments import open_store, study_name
from fer_tune.cli.completion import complete_studies, complete_sweeps
from fer_tune.errors import SettingsError

PROBLEMS = 1
BAD_INPUT = 2
NOTHING_COMPLETED = 3
INTERRUPTED = 130
"""Exit codes, beside 0.

`fer-tune doctor` found problems; bad usage or input; no trial completed; Ctrl-C.
"""


class Verbosity:
    """Whether `-v` was given, before the command or after it."""

    asked = False


verbosity = Verbosity()


def _set_verbosity(context: typer.Context, asked: bool) -> bool:
    """Remembers `-v`. A call begins with the options before its command."""
    verbosity.asked = asked or (context.parent is not None and verbosity.asked)
    return asked


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", callback=_set_verbosity, is_eager=True, help="Say more, and show where errors come from."
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="The database. Default: FER_TUNE_STORAGE, else SQLite in FER_TUNE_DIR.",
        show_default=False,
    ),
]
StudyArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[STUDY]",
        help="The study. Not needed if there is only one.",
        autocompletion=complete_studies,
        show_default=False,
    ),
]
StudyName = Annotated[
    str | None,
    typer.Option(
        "--study", metavar="NAME", help="The same as STUDY.", autocompletion=complete_studies, show_default=False
    ),
]
Studies = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[STUDY...]", help="Which studies. Default: all.", autocompletion=complete_studies, show_default=False
    ),
]
StudyNames = Annotated[
    str | None,
    typer.Option(
        "--studies",
        "--study",
        metavar="A,B",
        help="The same as STUDY.",
        autocompletion=complete_studies,
        show_default=False,
    ),
]
SweepFiles = typer.Argument(
    metavar="SWEEP...", help="Sweep files, folders, or names such as resnet.", autocompletion=complete_sweeps
)
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the sweep, such as lr=0.01. Repeatable."),
]
Wandb = Annotated[
    Literal["online", "offline", "disabled"] | None,
    typer.Option(
        "--wandb",
        metavar="MODE",
        help="online, offline or disabled. Default: online with a wandb key, else offline.",
        show_default=False,
    ),
]
LaneCount = Annotated[
    str | None,
    typer.Option(
        "--lanes", metavar="N|auto", help="Trainings at once on a worker; auto measures it.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

__all__ = ["open_store", "study_name"]  # also the names above


def one_study(argument: str | None, option: str | None) -> str | None:
    """Returns the study that was named by its place or by `--study`, or None.

    Raises:
        SettingsError: two different ones were named.
    """
    if argument is not None and option is not None and argument != option:
        raise SettingsError(f"Two studies are named: {argument} and {option}.", "Name one of them.")
    return option if argument is None else argument


def several_studies(arguments: list[str] | None, option: str | None) -> list[str] | None:
    """Returns the studies that were named by place, or with commas by an option. None is all."""
    named = [*(arguments or ()), *(name.strip(" ") for name in ([] if option is None else option.split(",")))]
    return named or None


def only_one(**flags: bool) -> None:
    """Refuses options that exclude one another.

    Raises:
        SettingsError: more than one of them is set.
    """
    given = [f"--{name}" for name, value in flags.items() if value]
    if len(given) > 1:
        raise SettingsError(f"{' and '.join(given)} exclude one another.", "Give one of them.")
