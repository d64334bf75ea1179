"""Trials and epochs as tables: pandas frames for Python, rows and Parquet files for the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tune.errors import MissingExtraError
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.store.epochs import MEASURES
from fer_tune.study import TrialSummary
from fer_tune.study import trials as read_trials

if TYPE_CHECKING:
    from pandas import DataFrame

TRIAL_COLUMNS = ("number", "state", "value", "epochs", "best_epoch", "name", "started", "ended", "seconds")
TRIAL_DTYPES = {
    "number": "int64",
    "state": "str",
    "value": "float64",
    "epochs": "int64",
    "best_epoch": "Int64",
    "name": "str",
    "started": "datetime64[us, UTC]",
    "ended": "datetime64[us, UTC]",
    "seconds": "float64",
}
EPOCH_COLUMNS = ("number", "attempt", "epoch", *MEASURES)
"""The columns of epochs, without those of the classes."""


def load_trials(study: str, storage: str | None = None) -> DataFrame:
    """Returns the trials of a study, one row for each, by number.

    | column | dtype | |
    |---|---|---|
    | number | int64 | from 0 |
    | state | str | complete, pruned, failed, requeued, running or waiting |
    | value | float64 | objective in 0..1: of the best epoch if complete, of the last one if pruned |
    | epochs | int64 | how many were reported |
    | best_epoch | Int64 | the first epoch with the highest objective, from 1 |
    | name | str | of the `start:` configuration that it came from |
    | started, ended | datetime64[us, UTC] | |
    | seconds | float64 | from start to end, with the time of waiting for a worker |
    | params.lr, ... | as searched | one column for each hyperparameter, also for fixed ones |
    | attrs.device, ... | as recorded | Optuna's user attributes: `attrs.parameters` (count), `attrs.seconds` (of \
    training), `attrs.images_per_second`, `attrs.reason`, ... |

    A value that a trial does not have is nan, NA or None. The columns up to `seconds` exist for every study. A column
    of hyperparameters has dtype object if it has words in some trials and numbers in others.

    Args:
        storage: URL of the database. Default: FER_TUNE_STORAGE, or the database in the folder FER_TUNE_DIR.

    Raises:
        StudyError: the study does not exist.
        StorageError: the database cannot be read.
    """
    with Store.of(Settings.from_environment(storage), create=False) as store:
        return trial_frame(read_trials(store, study))


def load_epochs(study: str, trial: int | None = None, storage: str | None = None, attempts: bool = False) -> DataFrame:
    """Returns the learning curves of a study or of one trial, one row for each epoch, by trial and epoch.

    | column | dtype | |
    |---|---|---|
    | number, attempt, epoch | int64 | the trial's number; its attempt, from 0; the epoch, from 1 |
    | train_loss, val_loss | float64 | mean cross-entropy in nats |
    | train_accuracy, val_accuracy, val_macro_f1, val_balanced_accuracy | float64 | in 0..1 |
    | lr | float64 | learning rate of the epoch's last step |
    | seconds | float64 | of training and validation |
    | images_per_second | float64 | training images over `seconds` |
    | recall.angry, ... | float64 | one column for each class, on validation, in 0..1; nan without images of it |

    Args:
        storage: URL of the database. Default: FER_TUNE_STORAGE, or the database in the folder FER_TUNE_DIR.
        attempts: whether to include the epochs that a later attempt trained again.

    Raises:
        StudyError: the study does not exist.
        StorageError: the database cannot be read.
    """
    from pandas import DataFrame

    with Store.of(Settings.from_environment(storage), create=False) as store:
        classes = store.studies.get(study).data_spec.classes
        numbers = {job.uid: job.number for job in store.jobs.of(study, "search") if trial in (None, job.number)}
        curves = store.epochs.curves(study).values()
        epochs = store.epochs.all(study) if attempts else [row for curve in curves for row in curve]
    rows = []
    for epoch in sorted((row for row in epochs if row.job in numbers), key=lambda row: numbers[row.job] or 0):
        row = asdict(epoch)
        row["number"], recall = numbers[row.pop("job")], row.pop("recall")
        rows.append(row | {f"recall.{name}": value for name, value in zip(classes, recall, strict=True)})
    columns = [*EPOCH_COLUMNS, *(f"recall.{name}" for name in classes)]
    counts = dict.fromkeys(EPOCH_COLUMNS[:3], "int64")
    return DataFrame(rows, columns=columns).astype(dict.fromkeys(columns, "float64") | counts)


def trial_rows(trials: Iterable[TrialSummary]) -> list[dict[str, Any]]:
    """Returns a mapping for each trial, with the columns of `load_trials` that the trial has values for."""
    rows = []
    for trial in trials:
        row: dict[str, Any] = {name: getattr(trial, name) for name in TRIAL_COLUMNS}
        row |= {f"params.{name}": value for name, value in trial.params.items()}
        row |= {f"attrs.{name}": value for name, value in trial.attrs.items()}
        rows.append(row)
    return rows


def trial_frame(trials: Iterable[TrialSummary]) -> DataFrame:
    """Returns `trial_rows` as a frame. Without trials it has the fixed columns and no rows."""
    from pandas import DataFrame

    rows = trial_rows(trials)
    columns = dict.fromkeys([*TRIAL_COLUMNS, *(name for row in rows for name in row)])
    return DataFrame(rows, columns=list(columns)).astype(TRIAL_DTYPES)


def write_parquet(trials: Iterable[TrialSummary], path: Path) -> None:
    """Writes `trial_frame` as a Parquet file, whole or not at all.

    A Parquet column has one type. So a hyperparameter that is a number in some trials and a word in others is written
    as words.

    Raises:
        MissingExtraError: pyarrow is not installed. It is an extra because it takes 150 MB.
    """
    if find_spec("pyarrow") is None:
        raise MissingExtraError("Parquet", "parquet")
    from fer_tune.files import replace_file

    frame = trial_frame(trials)
    for name in frame.columns:
        present = frame[name].dropna()
        if frame[name].dtype == object and len({type(item) for item in present}) > 1:
            frame[name] = frame[name].map(str, na_action="ignore")
    replace_file(path, lambda stream: frame.to_parquet(stream, engine="pyarrow", index=False))
