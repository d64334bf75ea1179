"""What a worker opens. A search gets training and validation images; test has no path into it.

The hash of a split is made of the digests of its three parts. So a search can check that it has the
right split without reading which images are test.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from fer_tune.data import cache
from fer_tune.data.dataset import Images, Indices
from fer_tune.data.spec import DataRef, DataSpec
from fer_tune.errors import DataError


@dataclass(frozen=True)
class SearchData:
    """The images of a trial.

    Attributes:
        images: uint8 [N, S, S] or [N, S, S, 3], memory-mapped: the whole data set. Use only what
            the indices name.
        labels: int64 [N].
        spec: what the images are.
        train, val: int64 indices, sorted.
    """

    images: Images
    labels: Indices
    spec: DataSpec
    train: Indices
    val: Indices


@dataclass(frozen=True)
class FinalData:
    """The images of a final fit: training and validation to train on, and test to be opened once.

    Attributes:
        images: uint8 [N, S, S] or [N, S, S, 3], memory-mapped.
        labels: int64 [N].
        spec: what the images are.
        train_val: int64 indices, sorted.
        test: int64 indices, sorted.
    """

    images: Images
    labels: Indices
    spec: DataSpec
    train_val: Indices
    test: Indices


def open_search(ref: DataRef) -> SearchData:
    """Opens training and validation images; reads no test indices.

    Raises:
        DataError: the cache or the split is missing, damaged, or not the study's.
    """
    stored = cache.read(ref.cache, ref.signature)
    parts = _parts(ref, ("train", "val"), len(stored.labels))
    return SearchData(stored.images, stored.labels, stored.spec, parts["train"], parts["val"])


def open_final(ref: DataRef) -> FinalData:
    """Opens all three parts, training and validation as one. For a final fit only.

    Raises:
        DataError: as `open_search`.
    """
    stored = cache.read(ref.cache, ref.signature)
    parts = _parts(ref, ("train", "val", "test"), len(stored.labels))
    train_val = np.sort(np.concatenate([parts["train"], parts["val"]]))
    return FinalData(stored.images, stored.labels, stored.spec, train_val, parts["test"])


def open_all(ref: DataRef) -> SearchData:
    """Opens all images as one training part, test included, and an empty validation part.

    Only for a final model that is not evaluated on these images, such as one for a competition.

    Raises:
        DataError: as `open_search`.
    """
    final = open_final(ref)
    every = np.sort(np.concatenate([final.train_val, final.test]))
    return SearchData(final.images, final.labels, final.spec, every, every[:0])


def digest(indices: Indices) -> str:
    """Returns the SHA-256 of an index array, the same on every platform."""
    return hashlib.sha256(np.ascontiguousarray(indices, "<i8").data).hexdigest()


def split_hash(signature: str, digests: dict[str, str]) -> str:
    """Returns the hash of a split: of the data set's signature and the digests of its parts."""
    text = "\n".join([signature, *(digests[part] for part in ("train", "val", "test"))])
    return hashlib.sha256(text.encode()).hexdigest()


def _parts(ref: DataRef, wanted: tuple[str, ...], size: int) -> dict[str, Indices]:
    """Reads the wanted parts of the stored split and checks them against its hash."""
    hint = "Run the sweep again: it makes the split again."
    try:
        with ref.split.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            digests = {part: str(file[f"{part}_digest"]) for part in ("train", "val", "test")}
            parts = {part: file[part] for part in wanted}
    except Exception as error:  # readers of a damaged zip raise many kinds
        raise DataError(f"the split {ref.split} cannot be read ({error})", hint) from error
    digests |= {part: digest(indices) for part, indices in parts.items()}
    if split_hash(ref.signature, digests) != ref.split_hash:
        raise DataError(f"{ref.split} is not the split {ref.split_hash[:12]} of this study", hint)
    if any(len(indices) and not 0 <= indices.min() <= indices.max() < size for indices in parts.values()):
        raise DataError(f"the split {ref.split} names images that the data set does not have", hint)
    return parts
