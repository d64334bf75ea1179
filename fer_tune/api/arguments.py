"""Reads and checks the arguments that many public functions take."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fer_tune.errors import SettingsError, StudyError
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.store import Store


Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def as_path(given: str | os.PathLike[str], what: str = "a path") -> Path:
    """Returns what was given as a path.

    Args:
        what: the argument, for the message.

    Raises:
        SettingsError: it is empty. `Path("")` would be the current folder.
    """
    if not os.fspath(given):
        raise SettingsError(
            f"{what} is an empty text, not a path.",
            "Perhaps a variable of the shell is empty. The current folder is `.`.",
        )
    return Path(given)


def as_paths(given: Paths) -> list[Path]:
    """Returns what was given as a list of paths.

    Raises:
        SettingsError: one is empty.
    """
    return [as_path(path) for path in ([given] if isinstance(given, str | os.PathLike) else given)]


def as_words(given: str | Sequence[str]) -> Sequence[str]:
    """Returns what was given as several words. One word stands for itself."""
    return [given] if isinstance(given, str) else given


def at_least(least: int, **given: int | None) -> None:
    """Checks arguments that are counts. None is a default.

    Raises:
        SettingsError: one is too small, or not a whole number.
    """
    for name, count in given.items():
        if count is not None and not (type(count) is int and count >= least):
            raise SettingsError(f"{name} must be a whole number, and at least {least} (got {count!r}).")


def check_lanes(lanes: int | Literal["auto"] | None) -> None:
    """Checks a number of lanes. None is a default.

    Raises:
        SettingsError: it is neither `auto` nor a possible number.
    """
    if lanes is None or lanes == "auto":  # the defaults: pydantic, which the sweeps need, takes time to import
        return
    from fer_tune.sweep.schema import MOST_LANES, are_lanes

    if not are_lanes(lanes):
        raise SettingsError(f"lanes must be auto, or a whole number from 1 to {MOST_LANES} (got {lanes!r}).")


def one_of(words: Sequence[str], **given: str | None) -> None:
    """Checks arguments that are words. None is a default.

    Raises:
        SettingsError: one is not among `words`.
    """
    for name, word in given.items():
        if word is not None and word not in words:
            raise SettingsError(f"{name} must be one of {', '.join(words)} (got {word!r}).")


def open_store(storage: str | None = None) -> Store:
    """Opens a database that exists, also in a folder that cannot be written. Reading creates none.

    Raises:
        StorageError: there is no database, or it cannot be read.
    """
    from fer_tune.store.reading import open_reader

    return open_reader(Settings.from_environment(storage))


def study_name(store: Store, asked: str | None) -> str:
    """Returns the name of the study that was asked for, or of the only one.

    Raises:
        StudyError: none was asked for, and there is none or more than one.
    """
    if asked is not None:
        return asked
    names = study_names(store, None)
    if len(names) == 1:
        return names[0]
    raise StudyError(f"There are {len(names)} studies.", f"Name one with --study: {', '.join(names)}.")


def study_names(store: Store, asked: str | Sequence[str] | None) -> list[str]:
    """Returns the names that were asked for, each once, or those of all studies.

    Raises:
        StudyError: there is no study.
    """
    names = (
        list(dict.fromkeys(as_words(asked))) if asked is not None else [record.name for record in store.studies.all()]
    )
    if not names:
        raise StudyError(f"There is no study in {store.shown}.", "`fer-tune run SWEEP` makes one.")
    return names
