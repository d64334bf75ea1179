"""What a model was made from: studies, a split, and training images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tune.data.spec import DataRef, DataSpec
from fer_tune.errors import DataError
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.data.dataset import Dataset


def origin_of(description: Any, folder: Path) -> dict[str, Any]:
    """Returns where a model came from; an ensemble came from where its first member did."""
    if "members" in description:
        from fer_tune.train.model_config import read_config

        description = read_config(folder / description["members"][0]["folder"]).everything
    origin = description.get("origin")
    return origin if isinstance(origin, dict) else {}


def studies_of(model: Any) -> str:
    """Returns the studies that a model was made from; an ensemble names those of its members."""
    origins = [one.description.get("origin") for one in getattr(model, "members", [model])]
    names = [str(one.get("study", "")) for one in origins if isinstance(one, dict)]
    return ", ".join(dict.fromkeys(filter(None, names)))


def name_of(description: Any, folder: Path) -> str:
    origin = description.get("origin")
    return str(description.get("id") or (origin or {}).get("job") or folder.name)


def own_split(origin: dict[str, Any], settings: Settings, dataset: Dataset) -> DataRef | None:
    """Returns the data and the split that a model was made from; None if these are other data."""
    if dataset.signature != origin.get("data_signature"):
        return None
    return _reference(origin, settings, dataset.spec)


def _reference(origin: dict[str, Any], settings: Settings, spec: DataSpec) -> DataRef:
    """Returns where the cache has the data and the split that a model was made from."""
    from fer_tune.data import cache
    from fer_tune.data.splits import split_path

    signature, split = str(origin.get("data_signature", "")), str(origin.get("split_hash", ""))
    return DataRef(cache.folder(settings, signature), signature, split_path(settings, split), split, spec)


@contextmanager
def split_needed(kept: DataRef) -> Iterator[None]:
    """Says in the words of somebody who has the model only that its split cannot be read.

    Raises:
        DataError: the split is not in this storage folder.
    """
    try:
        yield
    except DataError as error:
        raise DataError(
            "The model was made from these images, but its split, which says which of them are test images, is not "
            "in this storage folder.",
            "Set FER_TUNE_DIR to the storage folder that the model was made in, or copy the file "
            f"cache/splits/{kept.split.name} from there to {kept.split.parent}.",
        ) from error


@dataclass(frozen=True)
class TrainingImages:
    """The images that a model was trained on.

    Attributes:
        data: the data set that the model was made from.
        signature: of the data set.
        places: positions of the images in it.
    """

    data: Any
    signature: str
    places: Any

    @classmethod
    def of(cls, origin: dict[str, Any], settings: Settings) -> TrainingImages | None:
        """Returns the images, or None if they are not in the cache."""
        import numpy as np

        from fer_tune.data import cache
        from fer_tune.data.access import open_search

        signature = str(origin.get("data_signature", ""))
        try:
            stored = cache.read(cache.folder(settings, signature), signature)
            opened = open_search(_reference(origin, settings, stored.spec))
        except DataError:
            return None
        parts = {"train": [opened.train], "train+val": [opened.train, opened.val]}
        fitted = parts.get(str(origin.get("fit")))
        every = np.arange(len(stored.labels))
        return cls(stored, signature, every if fitted is None else np.sort(np.concatenate(fitted)))

    def among(self, dataset: Dataset, chosen: Any) -> int | None:
        """Returns how many of them are at some places of a data set; None for another data set."""
        import numpy as np

        return int(np.isin(chosen, self.places).sum()) if dataset.signature == self.signature else None

    def copies(self, images: Any) -> Any | None:
        """Returns which images are copies of them, bool [N]; None for images of another shape."""
        import numpy as np

        from fer_tune.data.duplicates import find_groups

        if self.data.spec.shape != images.shape[1:]:
            return None
        own = self.data.images[self.places]
        near = find_groups(np.concatenate([own, images])).near
        return np.isin(near[len(own) :], near[: len(own)])
