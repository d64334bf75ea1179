"""Parsed data sets on disk: written once, memory-mapped from then on.

    cache/faces/<signature>/      images.npy, labels.npy, usage.npy, meta.json: keyed by content
    cache/sources/<key>.json      the signature of a source, its names and notes: keyed by the path,
                                  size and times of the files, so that finding a data set again
                                  reads none of its bytes

A folder appears whole or not at all: it is written beside its place, then renamed. What is found is
checked before it is used: the size of every file, and a checksum over blocks spread across it. A
damaged folder is replaced.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_tune.data.dataset import Dataset, Images, Indices, Usage
from fer_tune.data.spec import FER2013, DataSpec
from fer_tune.errors import DataError
from fer_tune.files import draft_folder, flush, remove_drafts, replace_text, writing
from fer_tune.settings import Settings

FORMAT = 2
"""Counts up when the layout changes. Other formats are written again, but for `WITHOUT_SPEC`."""

WITHOUT_SPEC = 1
"""The format before specs were kept. Its images are FER2013's, or drawn like them."""

BLOCKS = 64
"""How many blocks of 4 KiB of a file the quick check reads."""


@dataclass(frozen=True)
class Stored:
    """The arrays of one cache folder. `images` is memory-mapped and read-only."""

    images: Images
    labels: Indices
    usage: Usage | None
    spec: DataSpec


def folder(settings: Settings, signature: str) -> Path:
    """Returns where the data set of this signature is, if it was kept."""
    return settings.cache / "faces" / signature[:32]


def keep(dataset: Dataset, settings: Settings) -> Path:
    """Writes the arrays unless a sound copy is there; returns the folder.

    Raises:
        StorageError: the disk refused.
    """
    target = folder(settings, dataset.signature)
    try:
        read(target, dataset.signature)
    except DataError:
        with writing(target):
            _write(dataset, target)
    return target


def read(place: Path, signature: str) -> Stored:
    """Opens a cache folder after checking it.

    Raises:
        DataError: it is missing, of another signature, or damaged.
    """
    hint = "Load the data set again (`fer-tune data SRC`): the cache is then rebuilt."
    try:
        meta = json.loads((place / "meta.json").read_text())
        if meta["format"] not in {WITHOUT_SPEC, FORMAT} or meta["signature"] != signature:
            raise DataError(f"{place} holds another data set than {signature[:12]}", hint)
        for name, seal in meta["files"].items():
            if asdict(_seal(place / name)) != seal:
                raise DataError(f"{place / name} is damaged", hint)
        spec = FER2013 if meta["format"] == WITHOUT_SPEC else DataSpec.from_dict(meta["spec"])
        images = np.load(place / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(place / "labels.npy", allow_pickle=False)
        usage = np.load(place / "usage.npy", allow_pickle=False) if "usage.npy" in meta["files"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise DataError(f"the cached data set {place} cannot be read ({error})", hint) from error
    if images.shape != (len(labels), *spec.shape) or images.dtype != np.uint8:
        raise DataError(f"{place / 'images.npy'} is damaged", hint)
    return Stored(images, labels, usage, spec)


def remember(key: str, dataset: Dataset, settings: Settings) -> None:
    """Keeps the arrays, and that the source with this key had them.

    Raises:
        StorageError: the disk refused.
    """
    keep(dataset, settings)
    record = {"format": FORMAT, "signature": dataset.signature, "notes": dataset.notes, "names": dataset.names}
    replace_text(_record(settings, key), json.dumps(record))


def recall(key: str, source: str, settings: Settings, say: Callable[[str], None] | None = None) -> Dataset | None:
    """Returns the data set that was remembered under this key; None if it is missing or damaged.

    Args:
        say: called with a sentence if it is damaged.
    """
    try:
        record = json.loads(_record(settings, key).read_text())
        signature, names, notes = record["signature"], record["names"], tuple(record["notes"])
        if record["format"] != FORMAT:
            return None
        stored = read(folder(settings, signature), signature)
    except DataError as error:
        if say is not None:
            say(f"{error.message}; the data set is read again.")
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if len(names) != len(stored.labels):
        return None
    return Dataset(stored.images, stored.labels, stored.usage, names, signature, source, stored.spec, notes)


@dataclass(frozen=True)
class _Seal:
    """Size and checksum of a file, which the quick check compares."""

    bytes: int
    crc: int


def _seal(path: Path) -> _Seal:
    size = path.stat().st_size
    crc = 0
    with path.open("rb") as stream:
        for start in np.linspace(0, max(0, size - 4096), BLOCKS).astype(np.int64).tolist():
            stream.seek(start)
            crc = zlib.crc32(stream.read(4096), crc)
    return _Seal(size, crc)


def _write(dataset: Dataset, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_drafts(target.parent, below=False)
    with draft_folder(target) as draft:
        arrays = {"images.npy": dataset.images, "labels.npy": dataset.labels, "usage.npy": dataset.usage}
        files = {}
        for name, array in arrays.items():
            if array is None:
                continue
            with (draft / name).open("wb") as stream:
                np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
                flush(stream)
            files[name] = asdict(_seal(draft / name))
        meta: dict[str, Any] = {"format": FORMAT, "signature": dataset.signature, "images": len(dataset)}
        meta |= {"spec": dataset.spec.as_dict(), "files": files}
        with (draft / "meta.json").open("w") as text:
            json.dump(meta, text, indent=1)
            flush(text)
        _into_place(draft, target, dataset.signature)


def _into_place(draft: Path, target: Path, signature: str) -> None:
    """Renames the draft, unless another process has put a sound copy there meanwhile.

    A sound copy is never touched: a worker may be opening it. Processes take turns, so that none of
    them takes another's new copy for the damaged one that both of them saw.
    """
    with _alone(target.parent):
        try:
            read(target, signature)
        except DataError:
            if target.exists():
                with draft_folder(target) as broken:
                    target.rename(broken / "old")
            draft.rename(target)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Waits until no other process is in here with the same folder."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _record(settings: Settings, key: str) -> Path:
    return settings.cache / "sources" / f"{key}.json"
