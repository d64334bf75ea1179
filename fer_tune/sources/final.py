"""The final fit: one configuration trained anew on training and validation, and evaluated on test once.

This is the only place that opens test images. Each opening is entered in the ledger before it happens, so that
a figure can be read together with how often test had been looked at before.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fer_tune.data.fer2013 import EMOTIONS
from fer_tune.errors import StudyError, TrainingError
from fer_tune.job import EpochRow, Job, JobEnd, Value
from fer_tune.mirror import Mode, mirrored
from fer_tune.pool.devices import choose_devices
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.store import Store, StudyRecord
    from fer_tune.study.summaries import TrialSummary
    from fer_tune.train.metrics import Scores

Until = Literal["best", "end"]

EpochDone = Callable[[EpochRow, int], object]
"""Called with each row and the number of epochs."""

PREDICTIONS = "predictions.npz"
"""What was predicted of the test images, by position in the data set: int64 `index` and `label` [T], and the
probabilities `plain` and `flip`, float32 [T, 7]."""


@dataclass(frozen=True)
class TestScores:
    """What was measured on test.

    Attributes:
        scores: accuracy, macro-F1, balanced accuracy, recall.
        error: standard error of the accuracy, sqrt(p (1 - p) / n).
        confusion: counts, 7 rows of true and 7 columns of predicted classes.
    """

    __test__ = False  # not a test class, whatever its name begins with

    scores: Scores
    error: float
    confusion: list[list[int]]


@dataclass(frozen=True)
class RetrainResult:
    """What a final fit left.

    Attributes:
        folder: holds `model.safetensors`, `config.json`, `metrics.json`, `epochs.json`, `confusion.json`,
            `confusion.png`, `report.json`, `predictions.npz`.
        trial: number of the trial whose configuration was trained.
        params, seed: what was trained, changes included.
        epochs, schedule: how many were trained, and the length of the schedule they belong to.
        rows: one an epoch; what is measured on validation is nan, since that was trained on.
        seconds: of training.
        plain: the network as it is; flip: its prediction averaged over each face and its mirror image.
        openings: how often test has been opened for this study, this time included.
    """

    study: str
    trial: int
    folder: Path
    params: dict[str, Value]
    seed: int
    epochs: int
    schedule: int
    rows: tuple[EpochRow, ...]
    images: int
    test_images: int
    parameters: int
    seconds: float
    plain: TestScores
    flip: TestScores
    openings: int


def retrain(
    settings: Settings,
    study: str,
    *,
    trial: int | None = None,
    epochs: int | None = None,
    until: Until = "best",
    out: Path | None = None,
    device: str | None = None,
    changes: Mapping[str, Value] | None = None,
    wandb: Mode | None = None,
    epoch_done: EpochDone = lambda row, epochs: None,
    note: Callable[[str], object] = lambda text: None,
) -> RetrainResult:
    """Trains a study's best configuration, or that of `trial`, on training and validation; evaluates it on test.

    What is left below the storage folder is recorded in the database, and becomes a run of wandb.

    Args:
        epochs: length of the schedule; by default the study's.
        until: `best` ends where the trial was at its best, at the same fraction of the schedule, if the trial was
            worse at its end by more than a standard error: then it had overfitted; else, and with `end`, training goes
            to the schedule's end, where the learning rate is smallest.
        out: the folder to leave; by default one of its own below the storage folder's artifacts.
        device: as for a worker; by default the first GPU, else the CPU.
        changes: hyperparameters that replace the trial's, for a final fit that is longer or more regular.
        wandb: the mirror's mode; None lets the mirror choose.
        note: told what the user should know, one line.

    Raises:
        StudyError: no such study or trial, or none is complete yet.
        SettingsError: there is no such device.
        TrainingError: the training failed or diverged.
        DataError: the study's data or split is gone from the cache.
    """
    from fer_tune.dashboard.writer import NoteWriter
    from fer_tune.store import Store

    where = choose_devices(device, 1)[0] if device else _best_device()
    with Store.of(settings, create=False) as store:
        record = store.study(study)
        chosen = _choose(store, study, trial)
        folder = out or _new_folder(settings, record, chosen.number)
        schedule = epochs or int(record.sweep_json["epochs"])
        spec = Job(
            study=study,
            number=chosen.number,
            family=record.family,
            params={**chosen.params, **(changes or {})},
            epochs=schedule,
            last=_last(store, record, chosen, schedule) if until == "best" else schedule,
            seed=int(record.sweep_json["seed"]),
            data=record.data_ref(settings.root),
            fit="train+val",
            artifacts=folder,
        )
        recorded = folder.resolve().is_relative_to(settings.root.resolve())
        with mirrored(settings, study, wandb if recorded else "disabled", note):
            result = _fit(store, spec, folder, where, epoch_done)
            files = _write(result)
            if recorded:
                for kind, path in files.items():
                    store.add_artifact(study, chosen.number, f"retrain {kind}", path)
        NoteWriter(store, settings, study).add_final_fit(chosen.number, files["confusion_png"])
    return result


def _fit(store: Store, spec: Job, folder: Path, device: str, epoch_done: EpochDone) -> RetrainResult:
    """Trains, and opens test."""
    rows: list[EpochRow] = []

    def keep(row: EpochRow, epochs: int) -> None:
        rows.append(row)
        epoch_done(row, epochs)

    end, seconds, images = _train(spec, device, keep)
    entry = store.open_test(spec.study, spec.number, spec.data.split_hash, "retrain")
    plain, flip = _evaluate(spec, folder, device)
    return RetrainResult(
        study=spec.study,
        trial=spec.number,
        folder=folder,
        params=spec.params,
        seed=spec.seed,
        epochs=len(rows),
        schedule=spec.epochs,
        rows=tuple(rows),
        images=images,
        test_images=sum(map(sum, plain.confusion)),
        parameters=end.parameters,
        seconds=seconds,
        plain=plain,
        flip=flip,
        openings=sum(opening.id <= entry for opening in store.ledger(spec.study)),
    )


def _choose(store: Store, study: str, number: int | None) -> TrialSummary:
    from fer_tune.study.summaries import ranking, trials

    if number is None:
        best = ranking(store, study)
        if not best:
            raise StudyError(f"Study {study!r} has no complete trial yet.", "Run its sweep for longer first.")
        return best[0]
    found = [summary for summary in trials(store, study) if summary.number == number]
    if not found:
        raise StudyError(f"Study {study!r} has no trial {number}.", f"`fer-tune trials --study {study}` lists them.")
    return found[0]


def _last(store: Store, record: StudyRecord, chosen: TrialSummary, schedule: int) -> int:
    """The epoch of a schedule at which to end, from where the best one of the trial lay in its own schedule.

    The best of many epochs is mostly the noise of validation, and a schedule that is left early is left with a high
    learning rate. So the rule of one standard error (Breiman et al. 1984, section 3.4.3): what was not worse by more
    than that was as good.
    """
    from fer_tune.selection.statistics import standard_error

    curve = store.curves(record.name, chosen.number).get(chosen.number)
    if curve is None or chosen.best_epoch is None:
        return schedule
    values = [getattr(row, record.objective) for row in curve]
    error = standard_error(max(values), record.split.counts.get("val", 0))
    if error is None or max(values) - values[-1] <= error:
        return schedule
    return min(schedule, max(1, round(schedule * chosen.best_epoch / int(record.sweep_json["epochs"]))))


def _new_folder(settings: Settings, record: StudyRecord, number: int) -> Path:
    """The first free `retrain-NNNN-K` beside the study's trials."""
    parent = settings.artifacts / f"{record.name}-{record.uid}"
    attempt = 1
    while (folder := parent / f"retrain-{number:04d}-{attempt}").exists():
        attempt += 1
    return folder


def _best_device() -> str:
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _train(spec: Job, device: str, epoch_done: EpochDone) -> tuple[JobEnd, float, int]:
    """How the training ended, its seconds, and the number of images it fitted."""
    from fer_tune.train.loop import Trainer

    trainer = Trainer(device)
    started = time.perf_counter()
    for message in trainer.train(spec):
        if isinstance(message, EpochRow):
            epoch_done(message, spec.final_epoch)
        else:
            end = message
    if end.status != "completed":
        hint = end.detail
        if end.infeasible:
            hint = hint or "A smaller width may help: `--set width=...`."
        elif end.status == "diverged":
            hint = hint or "A smaller learning rate may help: `--set lr=...`."
        raise TrainingError(f"Retraining trial {spec.number} of {spec.study!r} {end.status}: {end.reason}", hint)
    return end, time.perf_counter() - started, trainer.images(spec)


def _evaluate(spec: Job, folder: Path, device: str) -> tuple[TestScores, TestScores]:
    """Opens test: plain scores and flip-averaged ones, from the files that were written.

    Keeps what was predicted, so that nobody who asks which faces were mistaken need open test again.
    """
    import numpy as np

    from fer_tune.data.access import open_final
    from fer_tune.files import replace_file
    from fer_tune.train.export import Predictor

    data = open_final(spec.data)
    predictor = Predictor.load(folder, device)
    images, labels = data.images[data.test], data.labels[data.test]
    plain, flip = (predictor.predict(images, flip=flip) for flip in (False, True))
    replace_file(
        folder / PREDICTIONS,
        lambda stream: np.savez_compressed(stream, index=data.test, label=labels, plain=plain, flip=flip),
    )
    return _scores(labels, plain.argmax(1)), _scores(labels, flip.argmax(1))


def _scores(labels: Any, predicted: Any) -> TestScores:
    import torch

    from fer_tune.selection.statistics import standard_error
    from fer_tune.train.metrics import confusion_matrix, scores

    matrix = confusion_matrix(torch.from_numpy(labels), torch.from_numpy(predicted)).tolist()
    found = scores(matrix)
    error = standard_error(found.accuracy, len(labels)) or 0.0
    return TestScores(found, error, [[int(count) for count in row] for row in matrix])


def _write(result: RetrainResult) -> dict[str, Path]:
    """Writes what was measured; returns all files by kind, the metrics last, which say that the others are there."""
    from fer_tune.files import replace_text
    from fer_tune.report.figures import confusion_png

    texts: dict[str, Any] = {
        "epochs": [_plain(row) for row in result.rows],
        "confusion": {"classes": list(EMOTIONS), "plain": result.plain.confusion, "flip": result.flip.confusion},
        "report": {"plain": class_report(result.plain.confusion), "flip": class_report(result.flip.confusion)},
        "metrics": {
            "study": result.study,
            "trial": result.trial,
            "params": result.params,
            "seed": result.seed,
            "epochs": result.epochs,
            "schedule": result.schedule,
            "images": result.images,
            "test_images": result.test_images,
            "parameters": result.parameters,
            "seconds": round(result.seconds, 3),
            "test_openings": result.openings,
            "test": {"plain": _figures(result.plain), "flip": _figures(result.flip)},
        },
    }
    title = f"{result.study}, trial {result.trial}: {result.plain.scores.accuracy:.2%} of {result.test_images} on test"
    picture = confusion_png(result.plain.confusion, EMOTIONS, result.folder / "confusion.png", title)
    files = {
        name: result.folder / file for name, file in (("model", "model.safetensors"), ("predictions", PREDICTIONS))
    }
    files["confusion_png"] = picture
    for kind, content in texts.items():
        files[kind] = result.folder / f"{kind}.json"
        replace_text(files[kind], json.dumps(content, indent=2) + "\n")
    return files


def _plain(row: EpochRow) -> dict[str, Any]:
    """A row as JSON can say it, which has no nan."""
    values = asdict(row) | {"recall": [None if isnan(value) else value for value in row.recall]}
    return {key: None if isinstance(value, float) and isnan(value) else value for key, value in values.items()}


def _figures(measured: TestScores) -> dict[str, float]:
    return {
        "accuracy": measured.scores.accuracy,
        "accuracy_standard_error": measured.error,
        "macro_f1": measured.scores.macro_f1,
        "balanced_accuracy": measured.scores.balanced_accuracy,
    }


def class_report(confusion: list[list[int]]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of each class, from a confusion matrix; 0 where nothing was predicted."""
    report = {}
    for index, name in enumerate(EMOTIONS):
        right = confusion[index][index]
        true, predicted = sum(confusion[index]), sum(row[index] for row in confusion)
        report[name] = {
            "precision": right / predicted if predicted else 0.0,
            "recall": right / true if true else 0.0,
            "f1": 2 * right / (true + predicted) if true + predicted else 0.0,
            "support": true,
        }
    return report
