"""From a word or a path to a data set: read once, found again in milliseconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

from fer_tune.data import cache
from fer_tune.data.dataset import Dataset
from fer_tune.data.fer2013 import SIDE
from fer_tune.errors import DataError
from fer_tune.settings import Settings, at_home

Progress = Callable[[str], None]

DEMO = "demo"
"""The word for the data set that is drawn."""

FER2013 = "fer2013"
"""The word for the user's copy of FER2013."""


def load_faces(
    source: str,
    settings: Settings,
    progress: Progress | None = None,
    *,
    side: int = SIDE,
    channels: int = 1,
    complete: bool = True,
) -> Dataset:
    """Loads a data set, from the cache if it was read before and has not changed.

    Args:
        source: `demo`, `fer2013` (what FER_TUNE_DATA names, else what is in the data folder), or a
            path.
        settings: where the cache and the data folder are.
        progress: called with a sentence now and then while files are read.
        side, channels: what the images are resized and converted to.
        complete: whether there must be several classes, and images of each, as a training needs.

    Returns:
        The data set, its images memory-mapped.

    Raises:
        DataError: there is no such data set, or something in it is wrong: says in which file and
            row.
        StorageError: the cache cannot be written.
    """
    if not source:
        raise DataError("The data set's name is empty.", "Name fer2013, demo, or a path.")
    _check_sizes(side, channels)
    if source == FER2013:
        source = _own_copy(settings)
    if source == DEMO:
        return _cached(_demo_key(side, channels), source, settings, partial(_draw_demo, side, channels), progress)

    from fer_tune.data import sources
    from fer_tune.data.containers import printable

    path = at_home(source)
    read = partial(sources.read_source, path, sources.Reading(side, channels, progress, complete))
    found = _cached(sources.identity(path, side, channels), printable(source), settings, read, progress)
    if complete:  # the cache may have a data set that was only judged by
        sources.check_complete(found)
    return found


def missing(source: str, settings: Settings) -> str:
    """Returns why a data set is not there, or an empty text. It opens no file."""
    try:
        path = _own_copy(settings) if source == FER2013 else source
    except DataError as error:
        return error.message
    if path == DEMO or at_home(path).exists():
        return ""
    return f"{path}: there is no such file or folder"


SIDES = (8, 512)
"""The smallest and the largest side of an image that a network is trained on."""


def _check_sizes(side: int, channels: int) -> None:
    if not SIDES[0] <= side <= SIDES[1]:
        raise DataError(f"The images' side must be between {SIDES[0]} and {SIDES[1]} pixels (got {side}).")
    if channels not in {1, 3}:
        raise DataError(f"The images' channels must be 1 (grey) or 3 (colour) (got {channels}).")


def _demo_key(side: int, channels: int) -> str:
    from fer_tune.data import demo

    return hashlib.sha256(f"demo {demo.VERSION} {side} {channels}".encode()).hexdigest()[:32]


def _draw_demo(side: int, channels: int) -> Dataset:
    from fer_tune.data import demo, sources

    return sources.fitted(demo.demo_faces(), side, channels)


def _cached(key: str, source: str, settings: Settings, read: Callable[[], Dataset], say: Progress | None) -> Dataset:
    found = cache.recall(key, source, settings, say)
    if found is None:
        cache.remember(key, read(), settings)
        found = cache.recall(key, source, settings)
    if found is None:  # written a moment ago: another process removed it, or the disk does not keep it
        raise DataError(f"the cache {settings.cache} does not keep what is written to it", "Remove it and try again.")
    return found


def _own_copy(settings: Settings) -> str:
    """Returns the source that the word `fer2013` stands for."""
    if settings.data_source:
        if settings.data_source != DEMO and not at_home(settings.data_source).exists():
            raise DataError(
                f"FER_TUNE_DATA names {settings.data_source}, which does not exist", "Correct or unset the variable."
            )
        return settings.data_source
    folder = settings.data
    if folder.is_dir() and any(not entry.name.startswith((".", "README")) for entry in folder.iterdir()):
        return str(folder)
    raise DataError(
        f"FER2013 was not found: FER_TUNE_DATA is not set, and {folder} is empty",
        "Download it from https://www.kaggle.com/datasets/msambare/fer2013 (a zip of images) or from the competition "
        "'Challenges in Representation Learning: Facial Expression Recognition Challenge' (train.csv, "
        f"icml_face_data.csv), and put the file, packed or unpacked, into {folder}/. "
        "`--data demo` tries the tool without it.",
    )
