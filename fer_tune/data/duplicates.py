"""Finds images that are copies of each other, exactly or nearly.

FER2013 was gathered by a search engine: one photograph came back for several words, sometimes
rescaled or recompressed. A plain random split puts copies on both sides.

Near copies are pairs whose Pearson correlation over all pixels exceeds `NEAR`. Comparing all 412
million pairs of 28,709 images in full would take a minute; a bound spares nearly all of them. Let z
be an image with its mean taken away and of unit length. Let p be its projection on any orthonormal
system (here: the means of square blocks), and r = sqrt(1 - |p|²) the length of the rest. By
Cauchy-Schwarz

    correlation = <z, z'> ≤ <p, p'> + r r'

So pairs whose bound stays below the threshold need no look, and no pair above it is missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_tune.data import cache
from fer_tune.data.dataset import Dataset, Images, Indices
from fer_tune.files import replace_file
from fer_tune.settings import Settings

VERSION = 1
"""Counts up when the same images would be grouped in another way."""

NEAR = 0.98
"""Correlation above which two images count as copies."""

BLANK = 1.0
"""Standard deviation, of values in 0..255, below which an image is blank: one value and a
compressor's dust."""

ACROSS = 12
"""Blocks along a side of an image, whose means form the projection."""

TILE = 2048
"""Images on each side of one tile of the comparison."""

VALUES = 1 << 22
"""The most values of images that are converted to float32 at once."""


@dataclass(frozen=True)
class Groups:
    """Groups of copies. An image without copies is a group of its own.

    Attributes:
        exact: int64 [N], the first image that is pixel for pixel the same.
        near: int64 [N], the first image of the group after near copies are joined too. A copy of a
            copy is in the same group. All blank images form one group: they have no correlation,
            and say nothing about a face.
    """

    exact: Indices
    near: Indices


def find_groups(images: Images) -> Groups:
    """Groups the copies among uint8 [N, S, S] or [N, S, S, 3]."""
    exact = _exact(images)
    distinct = np.flatnonzero(exact == np.arange(len(images)))
    blank = is_blank(images[distinct])
    blanks, rest = distinct[blank], distinct[~blank]
    pairs = [
        np.stack([exact, np.arange(len(images))], axis=1),
        np.stack([blanks[:1].repeat(len(blanks)), blanks], axis=1),
        rest[_near_pairs(images[rest])],
    ]
    return Groups(exact, _joined(np.concatenate(pairs), len(images)))


def _joined(pairs: Indices, count: int) -> Indices:
    """Returns the smallest member of each image's group, int64 [N]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, group = connected_components(graph, directed=False) if count else (0, np.empty(0, np.int64))
    _, first, member = np.unique(group, return_index=True, return_inverse=True)
    return np.asarray(first[member], np.int64)


def groups_of(dataset: Dataset, settings: Settings) -> Groups:
    """Returns what `find_groups` does: searched once and kept beside the cached data set.

    Raises:
        StorageError: the disk refused.
    """
    path = cache.keep(dataset, settings) / f"groups-{VERSION}.npz"
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            groups = Groups(file["exact"], file["near"])
        if len(groups.exact) == len(groups.near) == len(dataset):
            return groups
    except Exception:  # missing or damaged: readers of a damaged zip raise many kinds
        pass
    groups = find_groups(dataset.images)
    replace_file(path, lambda stream: np.savez_compressed(stream, exact=groups.exact, near=groups.near))
    return groups


def is_blank(images: Images) -> NDArray[np.bool_]:
    """Returns whether each image shows nothing, bool [N]: its pixels deviate less than `BLANK`."""
    parts = [np.empty(0, bool)]
    for part in _parts(len(images), images):
        flat = images[part].reshape(len(images[part]), -1)
        parts.append(flat.std(axis=1, dtype=np.float32) < BLANK)
    return np.concatenate(parts)


def _exact(images: Images) -> Indices:
    """Returns for each image the first with the same bytes."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(image.tobytes(), index) for index, image in enumerate(images)], np.int64)


def _near_pairs(images: Images) -> Indices:
    """Returns the pairs above the threshold among images that are not blank, int64 [P, 2]."""
    bounds = _bounds(images)
    found = [np.empty((0, 2), np.int64)]
    for top in range(0, len(images), TILE):
        for left in range(top, len(images), TILE):
            # float32 rounds at 1e-7 a term: the margin keeps the bound a bound
            above = bounds[top : top + TILE] @ bounds[left : left + TILE].T > NEAR - 1e-4
            rows, columns = np.divmod(np.flatnonzero(above), above.shape[1])
            pairs = np.stack([rows + top, columns + left], axis=1)
            found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    candidates = np.concatenate(found)
    return candidates[_correlations(images, candidates) > NEAR]


def _bounds(images: Images) -> NDArray[np.float32]:
    """Returns projection and length of the rest, float32 [N, B + 1].

    Their inner products bound correlations from above.
    """
    parts = [np.empty((0, 1), np.float32)] if not len(images) else []
    block = max(1, images.shape[1] // ACROSS)
    across = images.shape[1] // block  # pixels beyond the last whole block belong to the rest
    for part in _parts(len(images), images):
        unit = _unit(images[part])
        whole = unit.reshape(len(unit), *images.shape[1:3], -1)[:, : across * block, : across * block]
        sums = whole.reshape(len(unit), across, block, across, block, -1).sum(axis=(2, 4))
        projected = sums.reshape(len(unit), -1) / block
        rest = np.sqrt(np.clip(1 - (projected**2).sum(axis=1, keepdims=True), 0, 1))
        parts.append(np.concatenate([projected, rest], axis=1))
    return np.concatenate(parts)


def _correlations(images: Images, pairs: Indices) -> NDArray[np.float32]:
    """Returns the Pearson correlation of each pair, float32 [P]."""
    parts = [np.empty(0, np.float32)]
    for part in _parts(len(pairs), images):
        chunk = pairs[part]
        parts.append((_unit(images[chunk[:, 0]]) * _unit(images[chunk[:, 1]])).sum(axis=1))
    return np.concatenate(parts)


def _parts(count: int, images: Images) -> Iterator[slice]:
    """Yields parts of `count` that have at most `VALUES` values, if each is one of the images."""
    size = max(1, VALUES // max(1, images[:1].size))
    yield from (slice(start, start + size) for start in range(0, count, size))


def _unit(images: Images) -> NDArray[np.float32]:
    """Returns the images as vectors of length 1, float32 [n, pixels], their means taken away."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True), np.float32)
