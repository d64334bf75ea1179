"""What is in a data set, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fer_tune.data.duplicates import groups_of, is_blank
from fer_tune.data.faces import USAGES, Faces, Indices
from fer_tune.data.policy import SplitPolicy
from fer_tune.data.splits import make_split
from fer_tune.errors import DataError
from fer_tune.settings import Settings
from fer_tune.trial import EMOTIONS


@dataclass(frozen=True)
class Audit:
    """Figures of a data set; all are numbers of images but for the groups.

    Attributes:
        side: pixels along a side, after conversion.
        classes: images of each emotion.
        usage: the same for each Usage, or None where the source does not say.
        blank: images of one single value.
        exact_copies, copies: images beyond the first of their group, by pixels, and near copies included.
        groups: groups of two or more copies.
        conflicts: groups among them whose images bear different labels.
        validation: validation images of a plain split (70/15/15, stratified, blind to copies).
        leaked: those among them that have a copy in its training part; None where it cannot be drawn.
        notes: what was converted when the source was read.
    """

    source: str
    signature: str
    images: int
    side: int
    classes: dict[str, int]
    usage: dict[str, dict[str, int]] | None
    blank: int
    exact_copies: int
    copies: int
    groups: int
    conflicts: int
    validation: int | None
    leaked: int | None
    notes: tuple[str, ...]


def audit(faces: Faces, settings: Settings) -> Audit:
    """Counts, and looks for copies; the search is kept in the cache.

    Raises:
        StorageError: the disk refused.
    """
    groups = groups_of(faces, settings)
    _, member, sizes = np.unique(groups.near, return_inverse=True, return_counts=True)
    lowest, highest = np.full(len(sizes), len(EMOTIONS)), np.full(len(sizes), -1)
    np.minimum.at(lowest, member, faces.labels)
    np.maximum.at(highest, member, faces.labels)
    validation, leaked = _leak(faces, groups.near)
    return Audit(
        source=faces.source,
        signature=faces.signature,
        images=len(faces),
        side=faces.images.shape[1],
        classes=faces.counts,
        usage=_by_usage(faces),
        blank=int(is_blank(faces.images).sum()),
        exact_copies=len(faces) - len(np.unique(groups.exact)),
        copies=len(faces) - len(sizes),
        groups=int((sizes > 1).sum()),
        conflicts=int((lowest != highest).sum()),
        validation=validation,
        leaked=leaked,
        notes=faces.notes,
    )


def _by_usage(faces: Faces) -> dict[str, dict[str, int]] | None:
    if faces.usage is None:
        return None
    found = {}
    for code, name in enumerate(USAGES):
        counts = np.bincount(faces.labels[faces.usage == code], minlength=len(EMOTIONS))
        found[name] = dict(zip(EMOTIONS, counts.tolist(), strict=True))
    return found


def _leak(faces: Faces, group: Indices) -> tuple[int | None, int | None]:
    """Validation images of a plain split, and those of them with a copy in its training part."""
    try:
        plain = make_split(faces, SplitPolicy(group_duplicates=False))
    except DataError:  # too few images of a class
        return None, None
    return len(plain.val), int(np.isin(group[plain.val], group[plain.train]).sum())
