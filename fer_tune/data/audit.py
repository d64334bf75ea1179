"""What a data set is like before anything is trained on it: `fer-tune data SRC`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fer_tune.data.dataset import SIDE, USAGES, Dataset, Indices
from fer_tune.data.duplicates import Groups, find_groups, groups_of, is_blank
from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.splits import make_split
from fer_tune.errors import DataError
from fer_tune.settings import Settings


@dataclass(frozen=True)
class Conflict:
    """Copies of one image with different labels: at most one of them is right.

    Attributes:
        names: the images, at most `SHOWN` of them.
        emotions: how many of the group bear which label.
    """

    names: list[str]
    emotions: dict[str, int]


@dataclass(frozen=True)
class Leak:
    """How much of validation a plain split (70/15/15, copies not kept together) gives away.

    Attributes:
        val: validation images.
        leaked: of these, how many have a copy in training.
        fraction: `leaked` of `val`.
    """

    val: int
    leaked: int
    fraction: float


@dataclass(frozen=True)
class Audit:
    """What was found; all of it plain data.

    Attributes:
        source, signature, notes: as in `Dataset`.
        images: number of images.
        height, width: pixels of each, after conversion.
        classes: images of each emotion.
        usage: images of each emotion in each part; None where the source does not say.
        blank: images on which there is nothing to see.
        exact_groups, exact_redundant: groups of images that are the same pixel for pixel, and
            how many images would go if one of each group were kept.
        near_groups, near_redundant: the same with near copies and blank images joined in.
        conflicting_groups, conflicting_images: groups whose images have different labels, and the images in them.
        conflicts: the first `SHOWN` of these groups, largest first.
        leak: see `Leak`; None if the set is too small to be split.
    """

    source: str
    signature: str
    notes: list[str]
    images: int
    height: int
    width: int
    classes: dict[str, int]
    usage: dict[str, dict[str, int]] | None
    blank: int
    exact_groups: int
    exact_redundant: int
    near_groups: int
    near_redundant: int
    conflicting_groups: int
    conflicting_images: int
    conflicts: list[Conflict]
    leak: Leak | None

    def as_dict(self) -> dict[str, Any]:
        """The same as nested dictionaries, for JSON."""
        return asdict(self)


SHOWN = 10
"""Conflicting groups, and images of one group, that an audit lists."""


def audit(faces: Dataset, settings: Settings | None = None) -> Audit:
    """Counts what `Audit` names; with settings, the duplicate search is kept in the cache.

    Raises:
        StorageError: the cache cannot be written.
    """
    groups = groups_of(faces, settings) if settings else find_groups(faces.images)
    conflicts = _conflicts(faces, groups)
    return Audit(
        source=faces.source,
        signature=faces.signature,
        notes=list(faces.notes),
        images=len(faces),
        height=SIDE,
        width=SIDE,
        classes=faces.counts,
        usage=_usage(faces),
        blank=int(is_blank(faces.images).sum()),
        exact_groups=_repeated(groups.exact),
        exact_redundant=len(faces) - len(np.unique(groups.exact)),
        near_groups=_repeated(groups.near),
        near_redundant=len(faces) - len(np.unique(groups.near)),
        conflicting_groups=len(conflicts),
        conflicting_images=sum(map(len, conflicts)),
        conflicts=[_describe(faces, members) for members in conflicts[:SHOWN]],
        leak=_leak(faces, groups),
    )


def _usage(faces: Dataset) -> dict[str, dict[str, int]] | None:
    if faces.usage is None:
        return None
    return {name: _emotions(faces.labels[faces.usage == code]) for code, name in enumerate(USAGES)}


def _emotions(labels: Indices) -> dict[str, int]:
    return dict(zip(EMOTIONS, np.bincount(labels, minlength=len(EMOTIONS)).tolist(), strict=True))


def _repeated(group: Indices) -> int:
    """Groups of more than one image."""
    return int((np.bincount(group) > 1).sum())


def _conflicts(faces: Dataset, groups: Groups) -> list[Indices]:
    """Members of each group with more than one label, blank images left out, largest first."""
    order = np.argsort(groups.near, kind="stable")
    starts = np.flatnonzero(np.diff(groups.near[order])) + 1
    found = [
        members
        for members in np.split(order, starts)
        if len(members) > 1 and len(np.unique(faces.labels[members])) > 1 and not is_blank(faces.images[members[:1]])[0]
    ]
    return sorted(found, key=lambda members: (-len(members), int(members[0])))


def _describe(faces: Dataset, members: Indices) -> Conflict:
    emotions = {name: count for name, count in _emotions(faces.labels[members]).items() if count}
    return Conflict([faces.names[index] for index in members[:SHOWN].tolist()], emotions)


def _leak(faces: Dataset, groups: Groups) -> Leak | None:
    try:
        split = make_split(faces, SplitPolicy(group_duplicates=False))
    except DataError:
        return None
    leaked = int(np.isin(groups.near[split.val], groups.near[split.train]).sum())
    return Leak(len(split.val), leaked, leaked / len(split.val))
