"""Images in folders named by class: `train/<class>/*.jpg` or `<class>/*.png`, in a folder or a zip.

The folder right above an image names its class. Folders further up are parts (`train`, `test`) or
wrappers, and have no meaning. Images are taken in the order of their paths, so that a zip and the
folder that it was packed from are the same data set.

Seven folders that are named as FER2013's emotions, by whatever synonyms, have FER2013's labels.
Other class names are those of their folders, in alphabetical order.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from fer_tune.data.containers import Container, damaged, printable
from fer_tune.data.dataset import Dataset, Images, Usage
from fer_tune.data.fer2013 import EMOTIONS, USAGES, label_of
from fer_tune.data.images import MODES, SUFFIXES, Format, decode, is_image
from fer_tune.errors import DataError

PARTS = {"train", "training", "test", "testing", "val", "valid", "validation", *map(str.lower, USAGES)}
"""Folders that name a part of a data set, never a class."""

MOST_CLASSES = 256
"""Labels are sorted as bytes when an epoch is drawn."""

NAMED_AT_ONCE = 20
"""Images that an error names."""

EXPECTED = "Images are expected in a folder for each class, such as train/happy/1.jpg."


def read_tree(container: Container, side: int, channels: int, progress: Callable[[str], None] | None = None) -> Dataset:
    """Reads all images below a root.

    Raises:
        DataError: an image is not readable or not in a class's folder, or a class has no images;
            says which.
    """
    names = [name for name in container.files if is_image(name)]
    classes, label = _classes(container, names)
    _check_folders(container, names)
    images, seen = _read_all(container, names, side, channels, progress)
    usage, usage_notes = _usage(names)
    others = [name for name in container.files if not is_image(name)]
    notes = [*seen.notes(), *usage_notes, *_missing(classes), *_passed_over(others)]
    return Dataset.of(
        images,
        np.array([label[_key(name)] for name in names], np.int64),
        usage,
        classes=classes,
        names=names,
        source=container.shown,
        notes=tuple(notes),
    )


def _read_all(
    container: Container, names: list[str], side: int, channels: int, progress: Callable[[str], None] | None
) -> tuple[Images, _Seen]:
    shape = (side, side) if channels == 1 else (side, side, channels)
    images = np.empty((len(names), *shape), np.uint8)
    seen = _Seen(side, channels)

    def read(name: str) -> tuple[Images, Format] | DataError:
        where = container.at(name)
        try:
            with damaged(where), container.open(name) as stream:
                return decode(stream, where, side, channels)
        except DataError as error:  # the others are read nevertheless, so that all are named at once
            return error

    unreadable: list[DataError] = []

    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        warnings.simplefilter("ignore")  # Pillow warns about odd metadata of images that it reads well
        for index, found in enumerate(threads.map(read, names)):
            if isinstance(found, DataError):
                unreadable.append(found)
            else:
                images[index], stored = found
                seen.add(stored)
            if progress and (index + 1) % 4096 == 0:
                progress(f"{container.shown}: {index + 1:,} of {len(names):,} images")
    if unreadable:
        raise _together(container, unreadable)
    return images, seen


def _together(container: Container, unreadable: list[DataError]) -> DataError:
    """Returns one error for all images that cannot be read."""
    if len(unreadable) == 1:
        return unreadable[0]
    lines = [f"  {error.message}" for error in unreadable[:NAMED_AT_ONCE]]
    if len(unreadable) > NAMED_AT_ONCE:
        lines.append(f"  and {len(unreadable) - NAMED_AT_ONCE:,} more")
    message = f"{container.shown}: {len(unreadable):,} images cannot be read:"
    return DataError("\n".join([message, *lines]), "Replace or remove them.")


def _key(name: str) -> str:
    """What tells classes apart: the name of an image's folder, whatever its case."""
    return PurePosixPath(name).parent.name.strip().casefold()


def _classes(container: Container, names: Iterable[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Returns the class names in the order of their labels, and the label of each key."""
    spelt: dict[str, str] = {}
    for name in names:
        folder = PurePosixPath(name).parent.name.strip()
        if not folder:
            raise DataError(f"{container.at(name)}: is not in a class's folder", EXPECTED)
        if folder.lower() in PARTS:
            raise DataError(f"{container.at(name)}: {folder!r} names a part of a data set, not a class", EXPECTED)
        spelt.setdefault(_key(name), printable(folder))
    emotions = {key: label_of(key) for key in spelt}
    if set(emotions.values()) == set(range(len(EMOTIONS))):
        return EMOTIONS, {key: label for key, label in emotions.items() if label is not None}
    if len(spelt) > MOST_CLASSES:
        raise DataError(f"{container.shown}: has {len(spelt):,} classes; 2 to {MOST_CLASSES} are possible", EXPECTED)
    keys = sorted(spelt)
    return tuple(spelt[key] for key in keys), {key: label for label, key in enumerate(keys)}


def _check_folders(container: Container, names: list[str]) -> None:
    """Refuses an empty folder beside those of classes: it is a class that was lost on the way."""
    paths = [PurePosixPath(name) for name in container.files]
    used = {str(parent) for path in paths for parent in path.parents}
    filled = {PurePosixPath(name).parent for name in names}
    beside, keys = {folder.parent for folder in filled}, {folder.name.strip().casefold() for folder in filled}
    for folder in map(PurePosixPath, container.folders):
        named = folder.name.strip().casefold() in keys or label_of(folder.name) is not None
        empty = str(folder) not in used
        if (empty and folder.parent in beside) or (named and folder not in filled):
            raise DataError(
                f"{container.at(str(folder))}: the folder has no images",
                f"Add images ({', '.join(SUFFIXES)}), or remove the folder.",
            )


def _missing(classes: tuple[str, ...]) -> list[str]:
    """Says which of FER2013's emotions are missing, if all classes are emotions."""
    labels = {label_of(name) for name in classes}
    if None in labels or len(labels) == len(EMOTIONS):
        return []
    missing = [name for label, name in enumerate(EMOTIONS) if label not in labels]
    return [f"{len(classes)} of FER2013's {len(EMOTIONS)} classes: no images of {', '.join(missing)}"]


@dataclass
class _Seen:
    """Counts the images that were converted."""

    side: int
    channels: int
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)

    def add(self, stored: Format) -> None:
        if stored.size != (self.side, self.side):
            self.sizes[stored.size] += 1
        if stored.mode != MODES[self.channels]:
            self.modes[stored.mode] += 1

    def notes(self) -> list[str]:
        notes = []
        if self.sizes:
            (width, height), _ = self.sizes.most_common(1)[0]
            what = (
                f"of another size (most often {width}×{height}) cut to a square and resized to {self.side}×{self.side}"
            )
            notes.append(f"{_images(self.sizes.total())} {what}")
        if self.modes:
            to = "grey" if self.channels == 1 else "colour"
            notes.append(f"{_images(self.modes.total())} converted to {to} (from {', '.join(sorted(self.modes))})")
        return notes


def _usage(names: list[str]) -> tuple[Usage | None, list[str]]:
    """Returns the usage that the prefixes of the files' names say, if all files have one."""
    prefixes = [PurePosixPath(name).name.split("_", 1)[0] for name in names]
    codes = np.array([USAGES.index(prefix) if prefix in USAGES else -1 for prefix in prefixes], np.int8)
    known = int((codes >= 0).sum())
    if known == len(names):
        return codes, []
    if known:
        return None, [f"Usage is in the names of {known:,} of {len(names):,} files only, and therefore not used"]
    return None, []


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _passed_over(names: list[str]) -> list[str]:
    if not names:
        return []
    what = "1 file was" if len(names) == 1 else f"{len(names):,} files were"
    return [f"{what} passed over: not an image (such as {printable(names[0])})"]
