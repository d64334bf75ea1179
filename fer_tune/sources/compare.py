"""Whether two studies, families or models differ beyond chance."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_tune.errors import DataError, StudyError
from fer_tune.models import FAMILIES
from fer_tune.selection.paired import compare
from fer_tune.selection.race import ALPHA, SeedResult, difference, difference_apart, pooled
from fer_tune.selection.statistics import mean
from fer_tune.sources.evaluate import PREDICTIONS
from fer_tune.sources.results_folder import read_metrics, results_of
from fer_tune.store import Store
from fer_tune.study.confirmations import ConfirmationReader
from fer_tune.study.standings import Standing, standings

ON_TEST = "test accuracy"
"""What is compared of models."""


@dataclass(frozen=True)
class Side:
    """One of the two that are compared.

    Attributes:
        name: as the user gave it.
        about: which trial or model stands for it, in words.
        values: by seed; one without confirmations.
    """

    name: str
    about: str
    values: tuple[float, ...]

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return mean(self.values)


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        measure: what is compared, such as `val_accuracy`.
        difference: value of the first minus value of the second.
        error: its standard error.
        p: probability of such a difference between equals.
        basis: what the test knows of, in words.
        same: whether both are one trial, or models with the same predictions.
    """

    first: Side
    second: Side
    measure: str
    difference: float
    error: float
    p: float
    basis: str
    same: bool = False

    @property
    def differ(self) -> bool:
        """Whether the two differ beyond chance, at the level of 5 %."""
        return self.p < ALPHA


@dataclass(frozen=True)
class _Entry:
    """What is known of one side: its runs, its images, and what both must have in common.

    Attributes:
        identity: equal for two sides that are the same.
        over_epochs: whether a run's value is a mean over epochs, and its images are of one epoch.
    """

    side: Side
    runs: Sequence[SeedResult]
    images: int
    measure: str
    on: str
    identity: str
    over_epochs: bool = False


def compare_two(store: Store | None, first: str, second: str) -> Comparison:
    """Compares two studies, families or model folders.

    A family stands for the best of its studies, and a study for its best trial: the confirmed one
    if there are confirmations. Models are compared by their predictions for test images, which
    `retrain`, `ensemble` and `evaluate` left; nothing is opened.

    Args:
        store: the database; None if both are folders.

    Raises:
        StudyError: a name is neither a study nor a family nor a folder, or has no complete trial.
        DataError: a folder has no predictions, or the two cannot be compared.
    """
    one, other = (_entry(store, name) for name in (first, second))
    if one.measure != other.measure:
        raise DataError(
            f"{first} is measured by {one.measure}, and {second} by {other.measure}.",
            "Compare two studies with one objective, or two model folders.",
        )
    if one.identity == other.identity:
        basis = f"the same {'trial' if one.measure != ON_TEST else 'model'}"
        return Comparison(one.side, other.side, one.measure, 0.0, 0.0, 1.0, basis, same=True)
    return Comparison(one.side, other.side, one.measure, *_difference(one, other))


def _difference(one: _Entry, other: _Entry) -> tuple[float, float, float, str]:
    """Returns the difference of two sides, its standard error, p, and what the test knows of."""
    together, images = one.on == other.on, (one.images, other.images)
    paired = together and all(run.images is not None for run in (*one.runs, *other.runs))
    if not paired:
        how = "values alone" if together else "different images"
        basis = f"{how}, as independent{_of_seeds(one, other)}"
        return *difference_apart(one.runs, other.runs, images), basis
    if max(len(one.runs), len(other.runs)) > 1:
        spread = pooled([one.runs, other.runs], one.images)
        basis = f"seeds and images, paired by image{_of_seeds(one, other)}"
        return *difference(one.runs, other.runs, spread, one.images), basis
    first, second = one.runs[0].images, other.runs[0].images
    assert first is not None
    assert second is not None
    gap = one.side.value - other.side.value
    found = compare(first, second, gap if one.over_epochs else None)
    basis = f"the same images{_of_seeds(one, other)}"
    return found.difference, found.error, found.p, basis


def _of_seeds(one: _Entry, other: _Entry) -> str:
    """Returns what a comparison does not know of the variation between seeds, for its basis."""
    seeds = len(one.runs), len(other.runs)
    if max(seeds) == 1:
        return ", one seed each: the variation between seeds is not in it"
    return "" if min(seeds) > 1 else "; one side has one seed"


def _entry(store: Store | None, name: str) -> _Entry:
    if has_predictions(name):
        return _of_model(Path(name), name)
    if store is None:
        raise without_predictions(name)
    names = [record.name for record in store.studies.all()]
    if name in names:
        return _of_study(store, name, name)
    family = [record.name for record in store.studies.all() if record.family == name]
    if family:
        best = {study: _best(store, study) for study in family}
        known = {study: one for study, one in best.items() if one is not None}
        if not known:
            raise _nothing_complete(name)
        return _of_study(store, max(known, key=lambda study: _rank(known[study])), name)
    if is_folder(name):
        raise without_predictions(name)
    if name in FAMILIES:
        raise StudyError(f"There is no study of the family {name}.", f"`fer-tune run {name}` makes one.")
    store.studies.get(name)  # its error names the nearest study
    raise AssertionError


def is_folder(name: str) -> bool:
    """Returns whether a name is that of a folder. One that is too long for a file system is not."""
    return os.path.isdir(name)


def has_predictions(name: str) -> bool:
    """Returns whether a name is that of a folder with predictions for test images."""
    return os.path.isfile(os.path.join(name, PREDICTIONS))


def without_predictions(name: str) -> DataError:
    """Returns the error for a folder that has no predictions.

    It names the command that leaves them, in another folder than the model's own.
    """
    results = results_of(Path(name))
    command = shlex.join(["fer-tune", "evaluate", name, "SRC", "--out", str(results)])
    hint = f"`{command}` leaves predictions in {results}. Name that folder instead."
    return DataError(f"{name} has no {PREDICTIONS}.", hint)


def _of_study(store: Store, study: str, name: str) -> _Entry:
    best = _best(store, study)
    if best is None:
        raise _nothing_complete(study)
    record = store.studies.get(study)
    reader = ConfirmationReader(store, record)
    number, runs = best.trial.number, list[SeedResult]()
    if best.confirmed is not None:
        complete = [job for job in reader.jobs() if job.origin["trial"] == number and job.state == "complete"]
        runs = [reader.predictions.run(job) for job in complete]
    elif best.trial.job is not None:
        runs = [SeedResult(best.trial.value or 0.0, reader.predictions.contributions(best.trial.job))]
    values = tuple(run.value for run in runs) or (best.trial.value or 0.0,)
    seeds = f", {len(values)} new seeds" if best.confirmed is not None else ", as the search measured it"
    shown = study if study == name else f"{study}, the best of {name}"
    side = Side(name, f"trial {number} of {shown}{seeds}", values)
    runs = runs or [SeedResult(values[0])]
    identity, on = f"trial {number} of {study}", f"val {record.split.hash}"
    rule = record.sweep_json.get("objective_of", "max")
    measure = record.objective if rule == "max" else f"{record.objective} ({rule})"
    return _Entry(side, runs, reader.predictions.images, measure, on, identity, rule == "mean_last")


def _of_model(folder: Path, name: str) -> _Entry:
    index, label, plain = _read_predictions(folder / PREDICTIONS)
    right = (plain.argmax(1) == label).astype(np.float64)
    side = Side(name, f"a model, {len(right)} test images{_opened(folder)}", (float(right.mean()),))
    on = f"test {_content(index, label)}"
    identity = f"{on} {_content(plain)}"
    return _Entry(side, [SeedResult(float(right.mean()), right)], len(right), ON_TEST, on, identity)


def _read_predictions(path: Path) -> tuple[Any, Any, Any]:
    """Returns positions [N] and labels [N] of test images, and probabilities [N, C] of the model.

    Raises:
        DataError: the file is damaged, has other arrays, or has no image.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            index, label, plain = (np.asarray(file[name]) for name in ("index", "label", "plain"))
        if plain.ndim != 2 or not plain.size or not index.shape == label.shape == plain.shape[:1]:
            raise ValueError("the arrays do not belong together")
        if plain.dtype.kind != "f" or label.dtype.kind not in "iu":
            raise ValueError("the arrays are of other types")
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise DataError(
            f"{path} cannot be read: it is damaged, or it has no predictions for test images.",
            "`fer-tune evaluate MODEL SRC --out FOLDER` writes them again, into a folder of their own.",
        ) from error
    return index, label, plain


def _opened(folder: Path) -> str:
    """Returns how often the test images had been opened with the figures of a folder, if known."""
    metrics = read_metrics(folder)
    try:
        count = int(metrics.get("test_openings") or metrics["openings"])
    except (ValueError, KeyError, TypeError):
        return ""
    return f", opened {'once' if count == 1 else f'{count} times'} by then"


def _content(*arrays: Any) -> str:
    """Returns which images the predictions are for."""
    return json.dumps([array.tolist() for array in arrays])


def _best(store: Store, study: str) -> Standing | None:
    return next(iter(standings(store, study, 1).ranked), None)


def _rank(one: Standing) -> tuple[bool, float]:
    """Returns what the best study of a family has most of. A value of a search flatters its trial,
    so any confirmed mean counts for more."""
    return one.confirmed is not None, one.confirmed.mean if one.confirmed is not None else one.trial.value or 0.0


def _nothing_complete(name: str) -> StudyError:
    return StudyError(f"{name} has no complete trial yet.", "Run its sweep for longer first.")
