"""Which images are copies of each other, exactly or nearly.

FER2013 was gathered by a search engine: one photograph came back for several words, sometimes
rescaled or recompressed, and a plain random split puts copies on both sides.

Near copies are pairs whose Pearson correlation over the 2,304 pixels exceeds `NEAR`. Comparing
all 412 million pairs of 28,709 images in full would take a minute; a bound spares nearly all of them.
Let z be an image with its mean taken away and of unit length, p its projection on any orthonormal
system (here: the means of 4×4 blocks) and r = sqrt(1 - |p|²) the length of the rest. By Cauchy-Schwarz

    correlation = <z, z'> ≤ <p, p'> + r r'

so that pairs whose bound stays below the threshold need no look; none is missed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_tune.data import cache
from fer_tune.data.dataset import SIDE, Dataset, Images, Indices
from fer_tune.files import replace_file
from fer_tune.settings import Settings

VERSION = 1
"""Counts up when the same images would be grouped otherwise."""

NEAR = 0.98
"""Correlation above which two images count as copies."""

BLANK = 1.0
"""Standard deviation, in grey levels, below which an image is blank: one value, or that and a compressor's dust."""

BLOCK = 4
"""Side of the blocks whose means form the projection."""

TILE = 2048
"""Images on each side of one tile of the comparison."""


@dataclass(frozen=True)
class Groups:
    """Groups of copies; an image without copies is a group of its own.

    Attributes:
        exact: int64 [N], the first image that is pixel for pixel the same.
        near: int64 [N], the first image of the group after near copies are joined too (the
            relation is made transitive). Blank images have no correlation to speak of and say
            nothing about a face: they form one group whatever their value.
    """

    exact: Indices
    near: Indices


def find_groups(images: Images) -> Groups:
    """Groups the copies among uint8 [N, 48, 48]."""
    exact = _exact(images)
    distinct = np.flatnonzero(exact == np.arange(len(images)))
    blank = is_blank(images[distinct])
    near = _Union(exact)
    for other in distinct[blank][1:].tolist():
        near.join(distinct[blank][0], other)
    rest = distinct[~blank]
    for first, second in _near_pairs(images[rest]).tolist():
        near.join(rest[first], rest[second])
    return Groups(exact, near.roots())


def groups_of(faces: Dataset, settings: Settings) -> Groups:
    """As `find_groups`, searched once and kept beside the cached data set.

    Raises:
        StorageError: the disk refused.
    """
    path = cache.keep(faces, settings) / f"groups-{VERSION}.npz"
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            groups = Groups(file["exact"], file["near"])
        if len(groups.exact) == len(groups.near) == len(faces):
            return groups
    except Exception:  # absent, or a damaged zip, which raises whatever its reader stumbles over
        pass
    groups = find_groups(faces.images)
    replace_file(path, lambda stream: np.savez_compressed(stream, exact=groups.exact, near=groups.near))
    return groups


def is_blank(images: Images) -> NDArray[np.bool_]:
    """bool [N]: whether there is nothing to see on an image: its pixels deviate less than `BLANK`."""
    flat = images.reshape(len(images), SIDE * SIDE)
    parts = [flat[start : start + TILE].std(axis=1, dtype=np.float32) < BLANK for start in range(0, len(flat), TILE)]
    return np.concatenate(parts) if parts else np.empty(0, bool)


def _exact(images: Images) -> Indices:
    """For each image the first with the same bytes."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(image.tobytes(), index) for index, image in enumerate(images)], np.int64)


def _near_pairs(images: Images) -> Indices:
    """int64 [P, 2]: pairs above the threshold among images that are not blank."""
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
    """float32 [N, 145]: projection and length of the rest; inner products bound correlations from above."""
    parts = []
    blocks = SIDE // BLOCK
    for start in range(0, len(images), TILE):
        unit = _unit(images[start : start + TILE])
        sums = unit.reshape(-1, blocks, BLOCK, blocks, BLOCK).sum(axis=(2, 4))
        projected = sums.reshape(len(sums), -1) / BLOCK
        rest = np.sqrt(np.clip(1 - (projected**2).sum(axis=1, keepdims=True), 0, 1))
        parts.append(np.concatenate([projected, rest], axis=1))
    return np.concatenate(parts) if parts else np.empty((0, blocks**2 + 1), np.float32)


def _correlations(images: Images, pairs: Indices) -> NDArray[np.float32]:
    """float32 [P]: Pearson correlation of each pair."""
    parts = [np.empty(0, np.float32)]
    for start in range(0, len(pairs), TILE):
        chunk = pairs[start : start + TILE]
        parts.append((_unit(images[chunk[:, 0]]) * _unit(images[chunk[:, 1]])).sum(axis=1))
    return np.concatenate(parts)


def _unit(images: Images) -> NDArray[np.float32]:
    """float32 [n, 2304]: mean taken away, length 1."""
    flat = images.reshape(len(images), SIDE * SIDE).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True), np.float32)


class _Union:
    """Disjoint sets whose representative is the smallest member."""

    def __init__(self, parents: Indices) -> None:
        self._parents = parents.tolist()

    def join(self, first: int, second: int) -> None:
        low, high = sorted((self._root(int(first)), self._root(int(second))))
        self._parents[high] = low

    def roots(self) -> Indices:
        return np.array([self._root(index) for index in range(len(self._parents))], np.int64)

    def _root(self, index: int) -> int:
        while self._parents[index] != index:
            self._parents[index] = index = self._parents[self._parents[index]]
        return index
