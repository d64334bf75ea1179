"""Reads the arguments that many public functions take: paths, `storage` and `study`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fer_tune.errors import StudyError
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.store import Store


Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def as_paths(given: Paths) -> list[Path]:
    """Returns what was given as a list of paths."""
    return [Path(given)] if isinstance(given, str | os.PathLike) else [Path(path) for path in given]


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


def study_names(store: Store, asked: Sequence[str] | None) -> list[str]:
    """Returns the names that were asked for, each once, or those of all studies.

    Raises:
        StudyError: there is no study.
    """
    names = list(dict.fromkeys(asked)) if asked is not None else [record.name for record in store.studies.all()]
    if not names:
        raise StudyError(f"There is no study in {store.shown}.", "`fer-tune run SWEEP` makes one.")
    return names
