"""The evaluation of a model or an ensemble against any labelled source."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tune.data.spec import DataRef
from fer_tune.errors import DataError, SettingsError, StorageError
from fer_tune.job import Tta, new_uid
from fer_tune.pool.devices import choose_devices
from fer_tune.settings import Settings
from fer_tune.sources.evaluate import (
    PREDICTIONS,
    VIEW_NAMES,
    TestScores,
    open_test,
    places_of_test,
    scored,
    write_predictions,
)
from fer_tune.store.openings import Opening, Openings, joined

if TYPE_CHECKING:
    from fer_tune.data.dataset import Dataset

PURPOSE = "evaluate"
"""The purpose of an opening, as the ledger records it."""

METRICS = "metrics.json"

OWN_TEST = "the test images of its split"
"""The part of its own data set that a model is evaluated on, in words."""

EVERY_VIEW: tuple[Tta, ...] = ("none", "flip", "crops")


@dataclass(frozen=True)
class Assessment:
    """What a model reached on labelled images.

    Attributes:
        model: its id, its job, or the name of its folder.
        source: as the user named it.
        part: which of its images, in words.
        classes: names of the model's classes.
        views: scores by kind of test-time augmentation.
        distinct: the same without images that are copies of training images; None if the training
            images are not in the cache.
        copies: number of images that are copies of training images; None if unknown.
        ledger: all openings of these images up to this one, the oldest first.
        trained: number of images that the model was trained on; they count among the copies. None
            if the source is not the data set that the model was made from, or its training images
            are not in the cache.
        unsaved: why the figures and predictions could not be written; None if they were, or if
            nobody asked for it.
    """

    model: str
    source: str
    part: str
    classes: tuple[str, ...]
    images: int
    views: dict[Tta, TestScores]
    distinct: dict[Tta, TestScores] | None
    copies: int | None
    ledger: tuple[Opening, ...]
    trained: int | None = None
    unsaved: StorageError | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns the figures as files have them."""
        views, distinct = (
            None if some is None else {VIEW_NAMES[tta]: one.figures() for tta, one in some.items()}
            for some in (self.views, self.distinct)
        )
        return {
            "model": self.model,
            "source": self.source,
            "part": self.part,
            "images": self.images,
            "trained_on": self.trained,
            "copies_of_training_images": self.copies,
            "test": views,
            "test_without_copies": distinct,
            "confusion": {"classes": list(self.classes)}
            | {VIEW_NAMES[tta]: one.confusion for tta, one in self.views.items()},
            "openings": len(self.ledger),
            "ledger": [opening.line for opening in self.ledger],
        }


def assess(
    folder: Path,
    source: str,
    settings: Settings,
    *,
    usage: str | None = None,
    device: str | None = None,
    views: Sequence[Tta] = EVERY_VIEW,
    out: Path | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Assessment:
    """Evaluates a model or an ensemble on a labelled source. It is an opening in the ledger.

    If the source is the data set that the model was made from, only the test images of its split
    are used.

    Args:
        folder: of the model or ensemble.
        source: `fer2013`, `demo`, or a path.
        usage: a part of the competition, such as `PrivateTest`; None is the whole source.
        device: `cpu` or `cuda:N`; None is the first GPU, or the CPU without one.
        out: a folder for `metrics.json` and `predictions.npz`, or None. A model's own folder is
            refused, because it has files of these names, and so is one with other results.
        note: is called with a sentence now and then while files are read.

    Returns:
        The figures. If they could not be written after all, `unsaved` says why.

    Raises:
        SettingsError: `out` is not a folder, or has a model or other results in it.
        DataError: the source cannot be read, or has a class that the model does not know, or the
            model's split is not in this storage folder.
        StorageError: a file is damaged, or `out` cannot be written. No image was opened then.
    """
    from fer_tune.data.load import load_faces
    from fer_tune.train.ensemble import load_any

    if out is not None:
        _refuse_model(out)
    model = load_any(folder, choose_devices(device, 1)[0])
    dataset = load_faces(source, settings, note, side=model.spec.side, channels=model.spec.channels)
    origin, name = origin_of(model.description, folder), _name(model.description, folder)
    kept = own_split(origin, settings, dataset)
    labels = _labels(dataset, model.spec.classes)
    own = kept if usage is None else None
    if own is None:
        chosen, part = _part(dataset, usage)
    else:
        with split_needed(own):
            chosen, part = places_of_test(own), OWN_TEST
    if out is not None:
        _claim(out, {"model": name, "source": source, "part": part})
    opened = Opened(model, dataset, labels, views, Openings(settings.root), new_uid(), name)
    if own is None:
        key = _key(dataset, None if usage is None else part, chosen, kept)
        predicted, scores, before = _other_images(opened, chosen, key, studies_of(model) if kept else source)
    else:
        predicted, scores, before = _own_test(opened, own)
    training = _TrainingImages.of(origin, settings)
    copies = None if training is None else training.copies(dataset.images[chosen])
    trained = None if training is None else training.among(dataset, chosen)
    distinct = None
    if copies is not None:
        here = labels[chosen][~copies]
        distinct = {tta: scored(here, some[~copies], len(model.spec.classes)) for tta, some in predicted.items()}
    many = None if copies is None else int(copies.sum())
    found = Assessment(name, source, part, model.spec.classes, len(chosen), scores, distinct, many, before, trained)
    return found if out is None else _written(found, out, chosen, labels[chosen], predicted)


def _written(found: Assessment, out: Path, chosen: Any, labels: Any, predicted: dict[Tta, Any]) -> Assessment:
    """Writes the files of an evaluation. Returns the figures, which cost an opening, with an error
    if there is one."""
    from fer_tune.files import replace_text

    try:
        write_predictions(out / PREDICTIONS, chosen, labels, predicted)
        replace_text(out / METRICS, json.dumps(found.as_dict(), indent=2) + "\n")
    except StorageError as error:
        return replace(found, unsaved=error)
    return found


def results_of(model: Path) -> Path:
    """Returns a folder for the figures of a model, which is not the model's own."""
    return Path("results") / (model.resolve().name or "model")


def _refuse_model(out: Path) -> None:
    """Raises an error if a folder is none, or has a model or an ensemble in it, whose files would
    be replaced."""
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is not a folder.", "--out takes a folder, which is made if it is missing.")
    if any((out / name).exists() for name in ("model.safetensors", "config.json", "ensemble.json")):
        raise SettingsError(
            f"{out} has a model in it, and the figures of an evaluation would replace files of the model.",
            f"Name another folder: `--out {shlex.quote(str(results_of(out)))}`.",
        )


def _claim(out: Path, about: dict[str, str]) -> None:
    """Makes a folder for results, before an opening is spent on them.

    Args:
        about: the model, the source and the part, as `metrics.json` names them.

    Raises:
        SettingsError: the folder has results of something else.
        StorageError: it cannot be written.
    """
    from fer_tune.files import probe_file

    for name in (PREDICTIONS, METRICS):
        probe_file(out / name)
    try:
        known = json.loads((out / METRICS).read_text("utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        known = None
    known = known if isinstance(known, dict) and "source" in known else {"source": None}
    # Files of earlier versions do not name the model.
    if any(known.get(key, value) != value for key, value in about.items()):
        named = [f"{key} {known[key]}" for key in about if known.get(key)]
        shown = f" ({', '.join(named)})" if named else ""
        raise SettingsError(
            f"{out} has other results{shown}, and this evaluation would replace them.",
            f"Name another folder with `--out`, or remove {out / METRICS} first.",
        )


@dataclass(frozen=True)
class Opened:
    """A model and labelled images, and where their opening is recorded.

    Attributes:
        labels: of all images, as positions among the model's classes.
        id, name: those of the opening.
    """

    model: Any
    dataset: Dataset
    labels: Any
    views: Sequence[Tta]
    ledger: Openings
    id: str
    name: str


def _own_test(opened: Opened, kept: DataRef) -> tuple[dict[Tta, Any], dict[Tta, TestScores], tuple[Opening, ...]]:
    """Evaluates a model on the test images of its own split.

    Returns:
        The predictions and scores by view, and the openings.
    """
    tested = open_test(
        opened.model,
        kept,
        opened.ledger,
        id=opened.id,
        purpose=PURPOSE,
        name=opened.name,
        study=studies_of(opened.model),
        views=opened.views,
    )
    return tested.predicted, tested.views, tested.ledger


def _other_images(
    opened: Opened, chosen: Any, key: str, about: str
) -> tuple[dict[Tta, Any], dict[Tta, TestScores], tuple[Opening, ...]]:
    """Evaluates a model on other images than the test images of its split.

    Args:
        chosen: positions of the images.
        key: what the ledger calls them.
        about: the study or the source, for the ledger.

    Returns:
        The predictions and scores by view, and the openings.
    """
    model, ledger = opened.model, opened.ledger
    opening = ledger.open(opened.id, key, purpose=PURPOSE, model=opened.name, study=about)
    predicted = {tta: model.predict(opened.dataset.images[chosen], tta) for tta in opened.views}
    labels, classes = opened.labels[chosen], len(model.spec.classes)
    scores = {tta: scored(labels, some, classes) for tta, some in predicted.items()}
    ledger.result(opening.id, {VIEW_NAMES[tta]: one.scores.accuracy for tta, one in scores.items()})
    return predicted, scores, tuple(ledger.of_split(key))


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


def _name(description: Any, folder: Path) -> str:
    origin = description.get("origin")
    return str(description.get("id") or (origin or {}).get("job") or folder.name)


def _labels(dataset: Dataset, classes: tuple[str, ...]) -> Any:
    """Returns the labels as positions among the model's classes, which are found by name."""
    import numpy as np

    known = {name.lower(): place for place, name in enumerate(classes)}
    present = {name: count for name, count in dataset.counts.items() if count}
    if missing := [name for name in present if name.lower() not in known]:
        raise DataError(
            f"{dataset.source} has images of the class {missing[0]}, which the model does not know.",
            f"The model knows: {', '.join(classes)}.",
        )
    places = np.array([known.get(name.lower(), -1) for name in dataset.spec.classes])
    return places[dataset.labels]


def _part(dataset: Dataset, usage: str | None) -> tuple[Any, str]:
    import numpy as np

    from fer_tune.data.fer2013 import USAGES

    if usage is None:
        return np.arange(len(dataset)), "all images"
    by_name = {name.lower(): code for code, name in enumerate(USAGES)}
    if usage.lower() not in by_name or dataset.usage is None:
        raise DataError(
            f"{dataset.source} has no part {usage}.",
            f"--usage takes {', '.join(USAGES)}, for a file with a Usage column.",
        )
    code = by_name[usage.lower()]
    return np.flatnonzero(dataset.usage == code), USAGES[code]


def own_split(origin: dict[str, Any], settings: Settings, dataset: Dataset) -> DataRef | None:
    """Returns the data and the split that a model was made from; None if these are other data."""
    from fer_tune.data import cache

    if dataset.signature != origin.get("data_signature"):
        return None
    split = str(origin.get("split_hash", ""))
    path = settings.cache / "splits" / f"{split[:32]}.npz"
    return DataRef(cache.folder(settings, dataset.signature), dataset.signature, path, split, dataset.spec)


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


def _key(dataset: Dataset, part: str | None, chosen: Any, kept: DataRef | None) -> str:
    """Returns what the ledger calls some images: their data and part, and the model's own split if
    test images of it are among them."""
    import numpy as np

    images = f"{dataset.signature} {part or ''}".strip()
    if kept is None:
        return images
    try:
        test = places_of_test(kept)
    except DataError:  # nobody knows which images are test: rather one opening too many than too few
        test = chosen
    return joined(kept.split_hash, images) if np.isin(test, chosen).any() else images


@dataclass(frozen=True)
class _TrainingImages:
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
    def of(cls, origin: dict[str, Any], settings: Settings) -> _TrainingImages | None:
        """Returns the images, or None if they are not in the cache."""
        import numpy as np

        from fer_tune.data import cache
        from fer_tune.data.access import open_search

        signature, split = str(origin.get("data_signature", "")), str(origin.get("split_hash", ""))
        place = settings.cache / "faces" / signature[:32]
        try:
            stored = cache.read(place, signature)
            ref = DataRef(place, signature, settings.cache / "splits" / f"{split[:32]}.npz", split, stored.spec)
            opened = open_search(ref)
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
