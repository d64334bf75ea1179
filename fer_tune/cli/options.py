"""Options that several commands share, and what they open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fer_tune.errors import SettingsError, StudyError
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.store import Store

Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="The database; else FER_TUNE_STORAGE, else sqlite:///storage/fer_tune.db.",
        show_default=False,
    ),
]
StudyName = Annotated[
    str | None,
    typer.Option("--study", metavar="NAME", help="The study; may be left out where there is one.", show_default=False),
]
Wandb = Annotated[
    Literal["online", "offline", "disabled"] | None,
    typer.Option(
        "--wandb", help="The mirror; default: online where a key is configured, else offline.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def open_store(storage: str | None) -> Store:
    """The database that is there; reading makes none."""
    from fer_tune.store import Store

    return Store.of(Settings.from_environment(storage), create=False)


def study_name(store: Store, asked: str | None) -> str:
    """The study asked for, else the only one.

    Raises:
        StudyError: none was asked for, and there is none or more than one.
    """
    if asked is not None:
        return asked
    names = [record.name for record in store.studies.all()]
    if len(names) == 1:
        return names[0]
    if not names:
        raise StudyError(f"There is no study in {store.shown}.", "`fer-tune run SWEEP` makes one.")
    raise StudyError(f"There are {len(names)} studies.", f"Name one with --study: {', '.join(names)}.")


def only_one(**flags: bool) -> None:
    """Refuses options that exclude one another.

    Raises:
        SettingsError: more than one of them is set.
    """
    given = [f"--{name}" for name, value in flags.items() if value]
    if len(given) > 1:
        raise SettingsError(f"{' and '.join(given)} exclude one another.", "Give one of them.")
