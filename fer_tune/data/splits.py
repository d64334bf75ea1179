"""Train, validation and test: drawn once, stored with a hash, the same for every trial of a study.

Random numbers come from `RandomState`, whose stream NumPy has frozen: a seed means the same
split on every platform and version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fer_tune.data import cache
from fer_tune.data.access import digest, split_hash
from fer_tune.data.dataset import USAGES, Dataset, Indices
from fer_tune.data.duplicates import Groups, find_groups, groups_of
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.spec import DataRef
from fer_tune.errors import DataError
from fer_tune.files import replace_file, replace_text
from fer_tune.settings import Settings

VERSION = 1
"""Counts up when the same policy would give another split."""

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """A division of a data set.

    Attributes:
        train, val, test: int64 indices, sorted, without overlap.
        hash: SHA-256 (hex) of the data set's signature and the indices.
    """

    train: Indices
    val: Indices
    test: Indices
    hash: str


@dataclass(frozen=True)
class StoredSplit:
    """A split on disk.

    Attributes:
        path: the file with the indices.
        hash: see `Split`.
        counts: images in `train`, `val` and `test`.
    """

    path: Path
    hash: str
    counts: dict[str, int]


def make_split(faces: Dataset, policy: SplitPolicy, groups: Groups | None = None) -> Split:
    """Divides the faces as the policy says; `groups` are searched for if they are needed and not given.

    Raises:
        DataError: a class is too small to be divided, or `usage` is asked for and the source has none.
    """
    group: Indices = np.arange(len(faces))
    if policy.group_duplicates:
        group = (groups or find_groups(faces.images)).near
    if policy.policy == "usage":
        parts = _by_usage(faces, group)
    elif policy.group_duplicates:
        parts = _by_group(faces, policy, group)
    else:
        parts = _plain(faces, policy)
    indices = {part: np.sort(part_indices) for part, part_indices in zip(PARTS, parts, strict=True)}
    drawn_by_group = policy.policy == "stratified" and policy.group_duplicates
    for part in PARTS if drawn_by_group else ("train",):
        _check_classes(faces, part, indices[part])
    return Split(**indices, hash=split_hash(faces.signature, {part: digest(indices[part]) for part in PARTS}))


def store_split(faces: Dataset, policy: SplitPolicy, settings: Settings) -> StoredSplit:
    """Makes the split and keeps it under the cache; a second call only reads a small record.

    Raises:
        DataError: as `make_split`.
        StorageError: the disk refused.
    """
    folder = settings.cache / "splits"
    key = json.dumps([VERSION, faces.signature, policy.model_dump(mode="json")], sort_keys=True)
    record = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    known = _recall(record, folder)
    if known is not None:
        return known
    split = make_split(faces, policy, groups_of(faces, settings) if policy.group_duplicates else None)
    stored = StoredSplit(
        folder / f"{split.hash[:32]}.npz", split.hash, {part: len(getattr(split, part)) for part in PARTS}
    )
    replace_file(stored.path, lambda stream: _save(split, stream))
    text = json.dumps({"hash": stored.hash, "counts": stored.counts, "bytes": stored.path.stat().st_size})
    replace_text(record, text)
    return stored


def reference(faces: Dataset, stored: StoredSplit, settings: Settings) -> DataRef:
    """What a worker needs to open these faces and this split; keeps the faces in the cache if they are not.

    Raises:
        StorageError: the disk refused.
    """
    return DataRef(cache.keep(faces, settings), faces.signature, stored.path, stored.hash)


def _recall(record: Path, folder: Path) -> StoredSplit | None:
    try:
        known = json.loads(record.read_text())
        path = folder / f"{known['hash'][:32]}.npz"
        return StoredSplit(path, known["hash"], known["counts"]) if path.stat().st_size == known["bytes"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _save(split: Split, stream: IO[bytes]) -> None:
    """Indices, and their digests: a search proves the hash without reading which images are test."""
    arrays: dict[str, Any] = {part: getattr(split, part) for part in PARTS}
    arrays |= {f"{part}_digest": np.array(digest(arrays[part])) for part in PARTS}
    np.savez(stream, **arrays)


def _plain(faces: Dataset, policy: SplitPolicy) -> tuple[Indices, Indices, Indices]:
    """scikit-learn's stratified split, twice: first training from the rest, then the rest in two."""
    from sklearn.model_selection import train_test_split

    def cut(indices: Indices, fraction: float) -> tuple[Indices, Indices]:
        first, second = train_test_split(
            indices, test_size=fraction, stratify=faces.labels[indices], random_state=policy.seed
        )
        return first, second

    try:
        train, rest = cut(np.arange(len(faces)), policy.val + policy.test)
        val, test = cut(rest, policy.test / (policy.val + policy.test))
    except ValueError as error:
        raise DataError(f"{faces.source} cannot be split: {error}", _MORE) from error
    return train, val, test


def _by_group(faces: Dataset, policy: SplitPolicy, group: Indices) -> tuple[Indices, Indices, Indices]:
    """Draws whole groups, class by class, into test, then validation, until each has its share.

    A group whose images bear different labels counts to the class that most of them have. One
    that would overfill a part goes to training.
    """
    roots, member = np.unique(group, return_inverse=True)
    sizes = np.bincount(member)
    votes = np.zeros((len(roots), len(EMOTIONS)), np.int64)
    np.add.at(votes, (member, faces.labels), 1)
    emotion = votes.argmax(axis=1)
    part = np.zeros(len(roots), np.int64)
    random = np.random.RandomState(policy.seed)
    for label in range(len(EMOTIONS)):
        order = random.permutation(np.flatnonzero(emotion == label))
        total = int(sizes[order].sum())
        rooms = {code: max(1, round(total * share)) for code, share in ((2, policy.test), (1, policy.val))}
        for code, room in rooms.items():
            free = order[part[order] == 0]
            part[_fill(free, sizes, room)] = code
    drawn = part[member]
    return np.flatnonzero(drawn == 0), np.flatnonzero(drawn == 1), np.flatnonzero(drawn == 2)


def _fill(order: Indices, sizes: Indices, room: int) -> list[int]:
    """Takes groups in order while they fit, until the room is used up."""
    taken = []
    for index in order.tolist():
        if room == 0:
            break
        if sizes[index] <= room:
            taken.append(index)
            room -= int(sizes[index])
    return taken


def _by_usage(faces: Dataset, group: Indices) -> tuple[Indices, Indices, Indices]:
    """The competition's parts, less what has a copy in a later part."""
    if faces.usage is None:
        raise DataError(
            f"{faces.source} does not say which images are {', '.join(USAGES)}",
            "Use `split: {policy: stratified}`, or a source with a Usage column (fer2013.csv, icml_face_data.csv).",
        )
    later = {code: np.isin(group, group[faces.usage > code]) for code in range(3)}
    train, val, test = (np.flatnonzero((faces.usage == code) & ~later[code]) for code in range(3))
    for name, indices in zip(USAGES, (train, val, test), strict=True):
        if not len(indices):
            raise DataError(f"{faces.source} has no {name} images", "Use `split: {policy: stratified}`.")
    return train, val, test


_MORE = "Each class needs enough different images to have some in training, validation and test."


def _check_classes(faces: Dataset, part: str, indices: Indices) -> None:
    """A class without images can be neither learnt nor judged.

    Only training is held to it where the data set or scikit-learn decides the parts.
    """
    present: NDArray[np.int64] = np.bincount(faces.labels[indices], minlength=len(EMOTIONS))
    if (present == 0).any():
        name = EMOTIONS[int(present.argmin())]
        raise DataError(f"{faces.source} has too few different '{name}' images: none is left for {part}", _MORE)
