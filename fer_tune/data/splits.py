"""Train, validation and test: drawn once, stored with a hash, the same for every job of a study.

Random numbers come from `RandomState`, whose stream NumPy has frozen. So a seed gives the same
split on every platform and version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from fer_tune.data import cache
from fer_tune.data.access import digest, split_hash
from fer_tune.data.dataset import Dataset, Indices, count
from fer_tune.data.duplicates import Groups, find_groups, groups_of
from fer_tune.data.fer2013 import USAGES
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


def make_split(dataset: Dataset, policy: SplitPolicy, groups: Groups | None = None) -> Split:
    """Divides the data set as the policy says. Searches for `groups` if it needs them.

    Raises:
        DataError: a class is too small to be divided, or the policy is `usage` and the source has
            none.
    """
    group: Indices = np.arange(len(dataset))
    if policy.group_duplicates:
        group = (groups or find_groups(dataset.images)).near
    if policy.policy == "usage":
        parts = _by_usage(dataset, group)
    elif policy.group_duplicates:
        parts = _by_group(dataset, policy, group)
    else:
        parts = _plain(dataset, policy)
    indices = {part: np.sort(part_indices) for part, part_indices in zip(PARTS, parts, strict=True)}
    drawn_by_group = policy.policy == "stratified" and policy.group_duplicates
    for part in PARTS if drawn_by_group else ("train",):
        _check_classes(dataset, part, indices[part])
    return Split(**indices, hash=split_hash(dataset.signature, {part: digest(indices[part]) for part in PARTS}))


def split_path(settings: Settings, hash: str) -> Path:
    """Returns where the split of this hash is, if it was kept."""
    return settings.cache / "splits" / f"{hash[:32]}.npz"


def store_split(dataset: Dataset, policy: SplitPolicy, settings: Settings) -> StoredSplit:
    """Makes the split and keeps it in the cache. A second call only reads a small record.

    Raises:
        DataError: as `make_split`.
        StorageError: the disk refused.
    """
    key = json.dumps([VERSION, dataset.signature, policy.model_dump(mode="json")], sort_keys=True)
    record = split_path(settings, hashlib.sha256(key.encode()).hexdigest()).with_suffix(".json")
    known = _recall(record, settings)
    if known is not None:
        return known
    split = make_split(dataset, policy, groups_of(dataset, settings) if policy.group_duplicates else None)
    counts = {part: len(getattr(split, part)) for part in PARTS}
    stored = StoredSplit(split_path(settings, split.hash), split.hash, counts)
    replace_file(stored.path, lambda stream: _save(split, stream))
    text = json.dumps({"hash": stored.hash, "counts": stored.counts, "bytes": stored.path.stat().st_size})
    replace_text(record, text)
    return stored


def reference(dataset: Dataset, stored: StoredSplit, settings: Settings) -> DataRef:
    """Returns what a worker needs to open this data set and split. Keeps the data set in the cache.

    Raises:
        StorageError: the disk refused.
    """
    return DataRef(cache.keep(dataset, settings), dataset.signature, stored.path, stored.hash, dataset.spec)


def _recall(record: Path, settings: Settings) -> StoredSplit | None:
    try:
        known = json.loads(record.read_text())
        path = split_path(settings, known["hash"])
        return StoredSplit(path, known["hash"], known["counts"]) if path.stat().st_size == known["bytes"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _save(split: Split, stream: IO[bytes]) -> None:
    """Writes indices and their digests.

    From these a search checks the hash without reading which images are test.
    """
    arrays: dict[str, Any] = {part: getattr(split, part) for part in PARTS}
    arrays |= {f"{part}_digest": np.array(digest(arrays[part])) for part in PARTS}
    np.savez(stream, **arrays)


def _plain(dataset: Dataset, policy: SplitPolicy) -> tuple[Indices, Indices, Indices]:
    """Calls scikit-learn's stratified split twice: training from the rest, then the rest in two."""
    from sklearn.model_selection import train_test_split

    def cut(indices: Indices, fraction: float) -> tuple[Indices, Indices]:
        first, second = train_test_split(
            indices, test_size=fraction, stratify=dataset.labels[indices], random_state=policy.seed
        )
        return first, second

    try:
        train, rest = cut(np.arange(len(dataset)), policy.val + policy.test)
        val, test = cut(rest, policy.test / (policy.val + policy.test))
    except ValueError as error:
        raise DataError(f"{dataset.source} cannot be split: {error}", _MORE) from error
    return train, val, test


def _by_group(dataset: Dataset, policy: SplitPolicy, group: Indices) -> tuple[Indices, Indices, Indices]:
    """Draws whole groups, class by class, into test, then validation, until each has its share.

    A group whose images have different labels counts for the class that most of them have. A group
    that would overfill a part goes to training.
    """
    roots, member = np.unique(group, return_inverse=True)
    sizes = np.bincount(member)
    votes = np.zeros((len(roots), len(dataset.spec.classes)), np.int64)
    np.add.at(votes, (member, dataset.labels), 1)
    voted = votes.argmax(axis=1)
    part = np.zeros(len(roots), np.int64)
    random = np.random.RandomState(policy.seed)
    for label in range(len(dataset.spec.classes)):
        order = random.permutation(np.flatnonzero(voted == label))
        total = int(sizes[order].sum())
        rooms = {code: max(1, round(total * share)) for code, share in ((2, policy.test), (1, policy.val))}
        for code, room in rooms.items():
            free = order[part[order] == 0]
            part[_fill(free, sizes, room)] = code
    drawn = part[member]
    return np.flatnonzero(drawn == 0), np.flatnonzero(drawn == 1), np.flatnonzero(drawn == 2)


def _fill(order: Indices, sizes: Indices, room: int) -> list[int]:
    """Returns the groups, taken in order while they fit, until the room is used up."""
    taken = []
    for index in order.tolist():
        if room == 0:
            break
        if sizes[index] <= room:
            taken.append(index)
            room -= int(sizes[index])
    return taken


def _by_usage(dataset: Dataset, group: Indices) -> tuple[Indices, Indices, Indices]:
    """Returns the competition's parts, without images that have a copy in a later part."""
    if dataset.usage is None:
        raise DataError(
            f"{dataset.source} does not say which images are {', '.join(USAGES)}",
            "Use `split: {policy: stratified}`, or a source with a Usage column (fer2013.csv, icml_face_data.csv).",
        )
    later = {code: np.isin(group, group[dataset.usage > code]) for code in range(3)}
    train, val, test = (np.flatnonzero((dataset.usage == code) & ~later[code]) for code in range(3))
    for name, indices in zip(USAGES, (train, val, test), strict=True):
        if not len(indices):
            raise DataError(f"{dataset.source} has no {name} images", "Use `split: {policy: stratified}`.")
    return train, val, test


_MORE = "Each class needs enough different images to have some in training, validation and test."


def _check_classes(dataset: Dataset, part: str, indices: Indices) -> None:
    """Refuses a part that lacks a class: it can be neither learnt nor judged."""
    counts = count(dataset.labels[indices], dataset.spec.classes)
    if missing := [name for name, found in counts.items() if not found]:
        name = missing[0]
        raise DataError(f"{dataset.source} has too few different '{name}' images: none is left for {part}", _MORE)
