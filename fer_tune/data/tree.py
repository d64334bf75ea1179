"""Images in folders named by emotion: `train/<emotion>/*.jpg`, `<emotion>/*.png`, in a folder or a zip.

The folder right above an image names its emotion; folders further up are parts (`train`, `test`) or
wrappers and mean nothing. Images are taken in the order of their paths, so that a zip and the folder
it was packed from are the same data set.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fer_tune.data.containers import Container, damaged, printable
from fer_tune.data.dataset import SIDE, USAGES, Images, Indices, Usage
from fer_tune.data.labels import known_names, label_of
from fer_tune.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
"""What counts as an image."""

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
"""What Pillow may try; its other readers are many, old, and not needed."""

LARGEST_FILE = 32 << 20
"""Bytes in one image file."""

LARGEST_SIDE = 8192
"""Pixels along one side of an image, checked before it is decoded."""


@dataclass(frozen=True)
class Tree:
    """uint8 [N, 48, 48], int64 [N], int8 [N] or None, paths inside the container, notes on conversions."""

    images: Images
    labels: Indices
    usage: Usage | None
    names: list[str]
    notes: tuple[str, ...]


def is_image(name: str) -> bool:
    """Whether a file's name says that it is an image."""
    return name.lower().endswith(SUFFIXES)


def read_tree(container: Container, progress: Callable[[str], None] | None = None) -> Tree:
    """Reads all images below a root.

    Raises:
        DataError: an image is unreadable or in no emotion's folder, a folder is empty; says which.
    """
    names = [name for name in container.files if is_image(name)]
    labels = np.array([_label(container, name) for name in names], np.int64)
    _check_folders(container, names)
    images = np.empty((len(names), SIDE, SIDE), np.uint8)
    seen = _Seen()
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        warnings.simplefilter("ignore")  # of odd metadata in an image that can be read all the same
        for index, (image, kind) in enumerate(threads.map(lambda name: _read(container, name), names)):
            images[index] = image
            seen.add(kind)
            if progress and (index + 1) % 4096 == 0:
                progress(f"{container.shown}: {index + 1:,} of {len(names):,} images")
    usage, usage_notes = _usage(names)
    others = [name for name in container.files if not is_image(name)]
    passed = _few(others, "file that is no image was passed over", "files that are no images were passed over")
    return Tree(images, labels, usage, names, (*seen.notes(), *usage_notes, *passed))


def _label(container: Container, name: str) -> int:
    folder = PurePosixPath(name).parent.name
    label = label_of(folder)
    if label is None:
        what = f"folder {folder!r} is no emotion" if folder else "lies in no emotion's folder"
        raise DataError(f"{container.at(name)}: {what}", f"Folders must be named: {known_names()}.")
    return label


def _check_folders(container: Container, names: list[str]) -> None:
    """A folder of an emotion without images is a class that was lost on the way."""
    filled = {str(PurePosixPath(name).parent) for name in names}
    for folder in container.folders:
        if label_of(PurePosixPath(folder).name) is not None and folder not in filled:
            raise DataError(
                f"{container.at(folder)}: the folder has no images", f"Images are {', '.join(SUFFIXES)}; or remove it."
            )


@dataclass(frozen=True)
class _Kind:
    """How an image was stored."""

    size: tuple[int, int]
    mode: str


def _read(container: Container, name: str) -> tuple[Images, _Kind]:
    """One image as uint8 [48, 48]."""
    where = container.at(name)
    with damaged(where), container.open(name) as stream:
        data = stream.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise DataError(f"{where}: larger than {LARGEST_FILE >> 20} MiB, too large for an image")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if max(image.size) > LARGEST_SIDE:
                raise DataError(f"{where}: {image.width}×{image.height} pixels, more than {LARGEST_SIDE} along a side")
            image.load()
            kind = _Kind(image.size, image.mode)
            return np.asarray(_convert(image)), kind
    except DataError:
        raise
    except UnidentifiedImageError as error:  # whose text names an object of ours
        raise DataError(f"{where}: not a readable image", "Replace or remove it.") from error
    except Exception as error:  # Pillow's readers raise what they stumble over: OSError, SyntaxError, struct.error
        raise DataError(f"{where}: not a readable image ({error})", "Replace or remove it.") from error


def _convert(image: Image.Image) -> Image.Image:
    """Grey, 48×48: the middle square of the upright picture, made smaller or larger."""
    if image.mode == "L" and image.size == (SIDE, SIDE):
        return image
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits a pixel: Pillow would cut them off at 255
        upright = Image.fromarray((np.asarray(upright, np.float64) / 257).clip(0, 255).round().astype(np.uint8))
    return ImageOps.fit(upright.convert("L"), (SIDE, SIDE), Image.Resampling.LANCZOS)


@dataclass
class _Seen:
    """Counts what had to be converted."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)

    def add(self, kind: _Kind) -> None:
        if kind.size != (SIDE, SIDE):
            self.sizes[kind.size] += 1
        if kind.mode != "L":
            self.modes[kind.mode] += 1

    def notes(self) -> list[str]:
        notes = []
        if self.sizes:
            (width, height), _ = self.sizes.most_common(1)[0]
            what = f"of another size (most often {width}×{height}) cut to a square and resized to {SIDE}×{SIDE}"
            notes.append(f"{_images(self.sizes.total())} {what}")
        if self.modes:
            notes.append(f"{_images(self.modes.total())} converted to grey (from {', '.join(sorted(self.modes))})")
        return notes


def _usage(names: list[str]) -> tuple[Usage | None, list[str]]:
    """Usage from the prefix of the files' names, where all have one."""
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


def _few(names: list[str], one: str, many: str) -> list[str]:
    if not names:
        return []
    return [f"{len(names):,} {one if len(names) == 1 else many} (such as {printable(names[0])})"]
