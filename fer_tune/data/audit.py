"""Counts what is wrong with a data set before anything is trained on it: `fer-tune data SRC`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from fer_tune.data.dataset import Dataset, Indices, count
from fer_tune.data.duplicates import Groups, find_groups, groups_of, is_blank
from fer_tune.data.fer2013 import USAGES
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.splits import make_split
from fer_tune.errors import DataError
from fer_tune.settings import Settings


@dataclass(frozen=True)
class Conflict:
    """Copies of one image with different labels: at most one of them is right.

    Attributes:
        names: the images, at most `SHOWN` of them.
        classes: how many images of the group have which label.
    """

    names: list[str]
    classes: dict[str, int]


Kind = Literal["blank", "conflict", "copy", "near copy"]


@dataclass(frozen=True)
class Doubtful:
    """Images that somebody should look at.

    Attributes:
        kind: they show nothing; they are copies with different labels; they are copies of one
            image, pixel for pixel or nearly.
        images: the class of each, by its name.
    """

    kind: Kind
    images: dict[str, str]


@dataclass(frozen=True)
class Leak:
    """The validation images that have a copy in training, in a plain split.

    The split is 70/15/15, and does not keep copies together.

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
    """What was found, as plain data.

    Attributes:
        source, signature, notes: as in `Dataset`.
        images: number of images.
        height, width, channels: of each image, after conversion.
        classes: images of each class.
        usage: images of each class in each part; None if the source does not say.
        blank: images that show nothing.
        exact_groups, exact_redundant: groups of images that are the same pixel for pixel, and
            how many images would go if one of each group were kept.
        near_groups, near_redundant: the same with near copies and blank images joined in.
        conflicting_groups, conflicting_images: groups whose images have different labels, and the
            images in them.
        conflicts: the first `SHOWN` of these groups, largest first.
        leak: see `Leak`; None if the set is too small to be split.
        doubtful: all blank images and groups of copies, by name: blank ones, then conflicts, then
            copies.
    """

    source: str
    signature: str
    notes: list[str]
    images: int
    height: int
    width: int
    channels: int
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
    doubtful: list[Doubtful]

    def as_dict(self) -> dict[str, Any]:
        """Returns the same as nested dictionaries, for JSON."""
        return asdict(self)


SHOWN = 10
"""Conflicting groups, and images of one group, that an audit lists."""


def audit(dataset: Dataset, settings: Settings | None = None) -> Audit:
    """Counts what `Audit` names. With settings, the search for copies is kept in the cache.

    Raises:
        StorageError: the cache cannot be written.
    """
    groups = groups_of(dataset, settings) if settings else find_groups(dataset.images)
    conflicts = _conflicts(dataset, groups)
    return Audit(
        source=dataset.source,
        signature=dataset.signature,
        notes=list(dataset.notes),
        images=len(dataset),
        height=dataset.spec.side,
        width=dataset.spec.side,
        channels=dataset.spec.channels,
        classes=dataset.counts,
        usage=_usage(dataset),
        blank=int(is_blank(dataset.images).sum()),
        exact_groups=_repeated(groups.exact),
        exact_redundant=len(dataset) - len(np.unique(groups.exact)),
        near_groups=_repeated(groups.near),
        near_redundant=len(dataset) - len(np.unique(groups.near)),
        conflicting_groups=len(conflicts),
        conflicting_images=sum(map(len, conflicts)),
        conflicts=[_describe(dataset, members) for members in conflicts[:SHOWN]],
        leak=_leak(dataset, groups),
        doubtful=_doubtful(dataset, groups, conflicts),
    )


def _usage(dataset: Dataset) -> dict[str, dict[str, int]] | None:
    if dataset.usage is None:
        return None
    return {
        name: count(dataset.labels[dataset.usage == code], dataset.spec.classes) for code, name in enumerate(USAGES)
    }


def _repeated(group: Indices) -> int:
    """Returns the number of groups of more than one image."""
    return int((np.bincount(group) > 1).sum())


def _doubtful(dataset: Dataset, groups: Groups, conflicts: list[Indices]) -> list[Doubtful]:
    """Returns what `Audit.doubtful` has. A group is in it once."""
    blank = np.flatnonzero(is_blank(dataset.images))
    found = [Doubtful("blank", _named(dataset, blank))] if len(blank) else []
    found += [Doubtful("conflict", _named(dataset, members)) for members in conflicts]
    known = {int(members[0]) for members in conflicts}
    for members in _members(groups.near):
        if int(members[0]) not in known and not is_blank(dataset.images[members[:1]])[0]:
            exact = len(np.unique(groups.exact[members])) == 1
            found.append(Doubtful("copy" if exact else "near copy", _named(dataset, members)))
    return found


def _named(dataset: Dataset, members: Indices) -> dict[str, str]:
    return {dataset.names[index]: dataset.spec.classes[dataset.labels[index]] for index in members.tolist()}


def _members(group: Indices) -> list[Indices]:
    """Returns the images of each group of more than one, in the order of their first ones."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order])) + 1
    several = [members for members in np.split(order, starts) if len(members) > 1]
    return sorted(several, key=lambda members: int(members[0]))


def _conflicts(dataset: Dataset, groups: Groups) -> list[Indices]:
    """Returns the groups with more than one label, largest first, without blank images."""
    found = [
        members
        for members in _members(groups.near)
        if len(np.unique(dataset.labels[members])) > 1 and not is_blank(dataset.images[members[:1]])[0]
    ]
    return sorted(found, key=lambda members: (-len(members), int(members[0])))


def _describe(dataset: Dataset, members: Indices) -> Conflict:
    found = count(dataset.labels[members], dataset.spec.classes)
    named = [dataset.names[index] for index in members[:SHOWN].tolist()]
    return Conflict(named, {name: images for name, images in found.items() if images})


def _leak(dataset: Dataset, groups: Groups) -> Leak | None:
    try:
        split = make_split(dataset, SplitPolicy(group_duplicates=False))
    except DataError:
        return None
    leaked = int(np.isin(groups.near[split.val], groups.near[split.train]).sum())
    return Leak(len(split.val), leaked, leaked / len(split.val))
