"""Parsed data sets on disk: written once, memory-mapped ever after.

    cache/faces/<signature>/      images.npy, labels.npy, usage.npy, meta.json: keyed by content
    cache/sources/<key>.json      which signature a source had, its names and notes: keyed by the
                                  path, size and times of the files, so that finding a data set
                                  again reads none of its bytes

A folder appears whole (written beside, then renamed) or not at all. What is found is checked before
it is used: the size of every file, and a checksum over blocks spread across it; one that fails is built anew.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fer_tune.data.dataset import SIDE, Dataset, Images, Indices, Usage
from fer_tune.errors import DataError
from fer_tune.files import flush, replace_text, writing
from fer_tune.settings import Settings

FORMAT = 1
"""Counts up when the layout changes; other formats are built anew."""

BLOCKS = 64
"""How many blocks of 4 KiB of a file the quick check reads."""


@dataclass(frozen=True)
class Stored:
    """The arrays of one cache folder; `images` is memory-mapped and read-only."""

    images: Images
    labels: Indices
    usage: Usage | None


def folder(settings: Settings, signature: str) -> Path:
    """Where the data set of this signature lies, if it was kept."""
    return settings.cache / "faces" / signature[:32]


def keep(faces: Dataset, settings: Settings) -> Path:
    """Writes the arrays unless a sound copy is there; returns the folder.

    Raises:
        StorageError: the disk refused.
    """
    target = folder(settings, faces.signature)
    try:
        read(target, faces.signature)
    except DataError:
        with writing(target):
            _write(faces, target)
    return target


def read(place: Path, signature: str) -> Stored:
    """Opens a cache folder after checking it.

    Raises:
        DataError: it is absent, of another signature, or damaged.
    """
    hint = "Load the data set again (`fer-tune data SRC`): the cache is then rebuilt."
    try:
        meta = json.loads((place / "meta.json").read_text())
        if meta["format"] != FORMAT or meta["signature"] != signature:
            raise DataError(f"{place} holds another data set than {signature[:12]}", hint)
        for name, seal in meta["files"].items():
            if asdict(_seal(place / name)) != seal:
                raise DataError(f"{place / name} is damaged", hint)
        images = np.load(place / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(place / "labels.npy", allow_pickle=False)
        usage = np.load(place / "usage.npy", allow_pickle=False) if "usage.npy" in meta["files"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise DataError(f"the cached data set {place} cannot be read ({error})", hint) from error
    if images.shape != (len(labels), SIDE, SIDE) or images.dtype != np.uint8:
        raise DataError(f"{place / 'images.npy'} is damaged", hint)
    return Stored(images, labels, usage)


def remember(key: str, faces: Dataset, settings: Settings) -> None:
    """Keeps the arrays, and that the source with this key had them.

    Raises:
        StorageError: the disk refused.
    """
    keep(faces, settings)
    record = {"format": FORMAT, "signature": faces.signature, "notes": faces.notes, "names": faces.names}
    replace_text(_record(settings, key), json.dumps(record))


def recall(key: str, source: str, settings: Settings, say: Callable[[str], None] | None = None) -> Dataset | None:
    """The faces that were remembered under this key, memory-mapped; None if absent or, as is said, damaged."""
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
    return Dataset(stored.images, stored.labels, stored.usage, names, signature, source, notes)


@dataclass(frozen=True)
class _Seal:
    """What the quick check compares."""

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


def _write(faces: Dataset, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target.parent)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
    try:
        arrays = {"images.npy": faces.images, "labels.npy": faces.labels, "usage.npy": faces.usage}
        files = {}
        for name, array in arrays.items():
            if array is None:
                continue
            with (draft / name).open("wb") as stream:
                np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
                flush(stream)
            files[name] = asdict(_seal(draft / name))
        meta = {"format": FORMAT, "signature": faces.signature, "images": len(faces), "files": files}
        with (draft / "meta.json").open("w") as text:
            json.dump(meta, text, indent=1)
            flush(text)
        _into_place(draft, target, faces.signature)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _remove_abandoned(place: Path) -> None:
    """Drafts of processes that were killed while they wrote; nobody writes for a day."""
    for draft in place.glob(".draft-*"):
        if draft.stat().st_mtime < time.time() - 86_400:
            shutil.rmtree(draft, ignore_errors=True)


def _into_place(draft: Path, target: Path, signature: str) -> None:
    """Renames; what lies there already is damaged, or another process was quicker."""
    if target.exists():
        broken = Path(tempfile.mkdtemp(prefix=".broken-", dir=target.parent))
        target.rename(broken / "old")
        shutil.rmtree(broken, ignore_errors=True)
    try:
        draft.rename(target)
    except OSError:
        read(target, signature)


def _record(settings: Settings, key: str) -> Path:
    return settings.cache / "sources" / f"{key}.json"
