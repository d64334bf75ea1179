"""The images of a study that trains again: they are loaded again if the cache was emptied."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fer_tune.errors import DataError
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.store import StudyRecord


def keep_images(record: StudyRecord, settings: Settings, note: Callable[[str], None]) -> None:
    """Makes sure that a study's images and its split are in the cache.

    The cache can be emptied to save space. Then both are made again, from the place that the sweep
    named. What is in the cache is not read here; a worker checks it when it opens it.

    Args:
        note: is called with a line that the user should read.

    Raises:
        DataError: the images cannot be read, or are not those of the study any more.
        StorageError: the disk refused.
    """
    data = record.data_ref(settings.root)
    if (data.cache / "meta.json").is_file() and data.split.is_file():
        return
    from fer_tune.data.load import load_faces
    from fer_tune.data.policy import SplitPolicy
    from fer_tune.data.splits import reference, store_split

    note(f"{record.name}: its images are not in the cache any more. They are loaded again.")
    spec = record.data_spec
    dataset = load_faces(record.data_source, settings, note, side=spec.side, channels=spec.channels)
    if dataset.signature != record.data_signature:
        raise DataError(
            f"{record.data_source} has other images now than those that the study {record.name} was made from.",
            "Put the same images there again. Or search on the new ones under another study name.",
        )
    stored = store_split(dataset, SplitPolicy.model_validate(record.split.policy), settings)
    if stored.hash != record.split.hash:
        raise DataError(
            f"The split of the study {record.name} was removed from {settings.cache}, and cannot be made again: "
            "this version of fer-tune divides the images differently.",
            "Restore the cache from a backup, or install the version that made the study.",
        )
    reference(dataset, stored, settings)
