"""From a word or a path to faces: read once, found again in milliseconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

from fer_tune.data import cache
from fer_tune.data.dataset import Dataset
from fer_tune.errors import DataError
from fer_tune.settings import Settings, at_home

Progress = Callable[[str], None]

DEMO = "demo"
"""The word for the faces that are drawn."""

FER2013 = "fer2013"
"""The word for the user's own copy of FER2013."""


def load_faces(source: str, settings: Settings, progress: Progress | None = None) -> Dataset:
    """Loads a data set, from the cache if it was read before and has not changed.

    Args:
        source: `demo`, `fer2013` (what FER_TUNE_DATA names, else what lies in the data folder), or a path.
        settings: where the cache and the data folder are.
        progress: called with a sentence now and then while files are read.

    Returns:
        The faces, their images memory-mapped.

    Raises:
        DataError: there is no such data set, or something in it is wrong: says in which file and row.
        StorageError: the cache cannot be written.
    """
    if not source:
        raise DataError("The data set's name is empty.", "Name fer2013, demo, or a path.")
    if source == FER2013:
        source = _own_copy(settings)
    if source == DEMO:
        from fer_tune.data import demo

        key = hashlib.sha256(f"demo {demo.VERSION}".encode()).hexdigest()[:32]
        return _cached(key, source, settings, demo.demo_faces, progress)

    from fer_tune.data import sources
    from fer_tune.data.containers import printable

    path = at_home(source)
    read = partial(sources.read_source, path, progress)
    return _cached(sources.identity(path), printable(source), settings, read, progress)


def _cached(key: str, source: str, settings: Settings, read: Callable[[], Dataset], say: Progress | None) -> Dataset:
    found = cache.recall(key, source, settings, say)
    if found is None:
        cache.remember(key, read(), settings)
        found = cache.recall(key, source, settings)
    if found is None:  # written a moment ago: another process is removing it, or the disk lies
        raise DataError(f"the cache {settings.cache} does not keep what is written to it", "Remove it and try again.")
    return found


def _own_copy(settings: Settings) -> str:
    """What the word `fer2013` stands for."""
    if settings.data_source:
        if settings.data_source != DEMO and not at_home(settings.data_source).exists():
            raise DataError(
                f"FER_TUNE_DATA names {settings.data_source}, where there is nothing", "Correct or unset the variable."
            )
        return settings.data_source
    folder = settings.data
    if folder.is_dir() and any(not entry.name.startswith((".", "README")) for entry in folder.iterdir()):
        return str(folder)
    raise DataError(
        f"FER2013 is not here: FER_TUNE_DATA is not set, and there is nothing in {folder}",
        "Download it from https://www.kaggle.com/datasets/msambare/fer2013 (a zip of images) or from the competition "
        "'Challenges in Representation Learning: Facial Expression Recognition Challenge' (train.csv, "
        f"icml_face_data.csv), and put the file, packed or unpacked, into {folder}/. "
        "`--data demo` tries the tool without it.",
    )
