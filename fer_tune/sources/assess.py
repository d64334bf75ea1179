"""The evaluation of a model or an ensemble against any labelled source."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tune.data.spec import DataRef
from fer_tune.errors import DataError, StorageError
from fer_tune.job import Tta, new_uid
from fer_tune.pool.devices import choose_device
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
from fer_tune.sources.model_origin import TrainingImages, name_of, origin_of, own_split, split_needed, studies_of
from fer_tune.sources.results_folder import METRICS, claim, refuse_model
from fer_tune.store.openings import Opening, Openings, joined

if TYPE_CHECKING:
    from fer_tune.data.dataset import Dataset

PURPOSE = "evaluate"
"""The purpose of an opening, as the ledger records it."""

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
        left: positions of the images of `distinct` in the source; None without it.
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
    left: Any = field(default=None, compare=False, repr=False)
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
        DataError: the source cannot be read, has a class that the model does not know, or has no
            images of the part, or the model's split is not in this storage folder.
        StorageError: a file is damaged, or `out` cannot be written. No image was opened then.
    """
    from fer_tune.data.load import load_faces
    from fer_tune.train.ensemble import load_any

    if out is not None:
        refuse_model(out)
    model = load_any(folder, choose_device(device))
    spec = model.spec
    dataset = load_faces(source, settings, note, side=spec.side, channels=spec.channels, complete=False)
    origin, name = origin_of(model.description, folder), name_of(model.description, folder)
    kept = own_split(origin, settings, dataset)
    labels = _labels(dataset, model.spec.classes)
    own = kept if usage is None else None
    if own is None:
        chosen, part = _part(dataset, usage)
    else:
        with split_needed(own):
            chosen, part = places_of_test(own), OWN_TEST
    if out is not None:
        claim(out, {"model": name, "source": source, "part": part})
    opened = Opened(model, dataset, labels, views, Openings(settings.root), new_uid(), name)
    if own is None:
        key = _key(dataset, None if usage is None else part, chosen, kept)
        predicted, scores, before = _other_images(opened, chosen, key, studies_of(model) if kept else source)
    else:
        predicted, scores, before = _own_test(opened, own)
    training = TrainingImages.of(origin, settings)
    copies = None if training is None else training.copies(dataset.images[chosen])
    trained = None if training is None else training.among(dataset, chosen)
    distinct, many, left = None, None, None
    if copies is not None:
        many, left, count = int(copies.sum()), chosen[~copies], len(model.spec.classes)
        distinct = {tta: scored(labels[left], some[~copies], count) for tta, some in predicted.items()}
    found = Assessment(
        name, source, part, model.spec.classes, len(chosen), scores, distinct, many, before, trained, left
    )
    return found if out is None else _written(found, out, chosen, labels[chosen], predicted)


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
    """Returns the positions of the images of a part, and what the part is called.

    Raises:
        DataError: there is no such part, or it has no images.
    """
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
    chosen = np.flatnonzero(dataset.usage == code)
    if not len(chosen):
        others = " and ".join(USAGES[other] for other in sorted(set(dataset.usage.tolist())))
        raise DataError(f"{dataset.source} has no images of {USAGES[code]}.", f"It has images of {others}.")
    return chosen, USAGES[code]


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
