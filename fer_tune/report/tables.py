"""Trials and epochs as tables: pandas frames for Python, rows and Parquet for the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tune.data.fer2013 import EMOTIONS
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
EPOCH_COLUMNS = ("number", "attempt", "epoch", *MEASURES, *(f"recall.{name}" for name in EMOTIONS))


def load_trials(study: str, storage: str | None = None) -> DataFrame:
    """The trials of a study, one row each, by number.

    | column | dtype | |
    |---|---|---|
    | number | int64 | from 0 |
    | state | str | complete, pruned, failed, requeued, running or waiting |
    | value | float64 | the best epoch's objective of a complete trial, the last one's of a pruned trial; in 0..1 |
    | epochs | int64 | how many were reported |
    | best_epoch | Int64 | the first with the highest objective, from 1 |
    | name | str | of the `start:` configuration it came from |
    | started, ended | datetime64[us, UTC] | |
    | seconds | float64 | from start to end, waiting for a worker included |
    | params.lr, ... | as searched | one column for each hyperparameter, the fixed ones too |
    | attrs.device, ... | as kept | what Optuna keeps beside: `attrs.parameters` (count), `attrs.seconds` (of \
    training), `attrs.images_per_second`, `attrs.reason`, ... |

    What a trial does not have is missing: nan, NA or None. The columns up to `seconds` are there whatever the trials
    are; a column of hyperparameters that has words in some trials and numbers in others is of dtype object.

    Args:
        storage: the database's URL; by default what FER_TUNE_STORAGE or FER_TUNE_DIR name.

    Raises:
        StudyError: there is no such study.
        StorageError: the database cannot be read.
    """
    with Store.of(Settings.from_environment(storage), create=False) as store:
        return trial_frame(read_trials(store, study))


def load_epochs(study: str, trial: int | None = None, storage: str | None = None, attempts: bool = False) -> DataFrame:
    """The learning curves of a study or of one of its trials, one row an epoch, by trial and epoch.

    | column | dtype | |
    |---|---|---|
    | number, attempt, epoch | int64 | the trial's number; its tries from 0; from 1 |
    | train_loss, val_loss | float64 | mean cross-entropy in nats |
    | train_accuracy, val_accuracy, val_macro_f1, val_balanced_accuracy | float64 | in 0..1 |
    | lr | float64 | learning rate of the epoch's last step |
    | seconds | float64 | training and validation |
    | images_per_second | float64 | training images over `seconds` |
    | recall.angry, ... recall.neutral | float64 | on validation, in 0..1; nan where the class is absent |

    Args:
        storage: the database's URL; by default what FER_TUNE_STORAGE or FER_TUNE_DIR name.
        attempts: whether to include epochs that a later attempt trained again.

    Raises:
        StudyError: there is no such study.
        StorageError: the database cannot be read.
    """
    from pandas import DataFrame

    with Store.of(Settings.from_environment(storage), create=False) as store:
        numbers = {job.uid: job.number for job in store.jobs.of(study, "search") if trial in (None, job.number)}
        curves = store.epochs.curves(study).values()
        epochs = store.epochs.all(study) if attempts else [row for curve in curves for row in curve]
    rows = []
    for epoch in sorted((row for row in epochs if row.job in numbers), key=lambda row: numbers[row.job] or 0):
        row = asdict(epoch)
        recall = row.pop("recall")
        rows.append(
            row
            | {"number": numbers[row.pop("job")]}
            | {f"recall.{name}": value for name, value in zip(EMOTIONS, recall, strict=True)}
        )
    counts = dict.fromkeys(EPOCH_COLUMNS[:3], "int64")
    return DataFrame(rows, columns=list(EPOCH_COLUMNS)).astype(dict.fromkeys(EPOCH_COLUMNS, "float64") | counts)


def trial_rows(trials: Iterable[TrialSummary]) -> list[dict[str, Any]]:
    """One mapping a trial, columns as in `load_trials`; a trial has only those that it has values for."""
    rows = []
    for trial in trials:
        row: dict[str, Any] = {name: getattr(trial, name) for name in TRIAL_COLUMNS}
        row |= {f"params.{name}": value for name, value in trial.params.items()}
        row |= {f"attrs.{name}": value for name, value in trial.attrs.items()}
        rows.append(row)
    return rows


def trial_frame(trials: Iterable[TrialSummary]) -> DataFrame:
    """`trial_rows` as a frame; it has the columns of a trial also where there is none."""
    from pandas import DataFrame

    rows = trial_rows(trials)
    columns = dict.fromkeys([*TRIAL_COLUMNS, *(name for row in rows for name in row)])
    return DataFrame(rows, columns=list(columns)).astype(TRIAL_DTYPES)


def write_parquet(trials: Iterable[TrialSummary], path: Path) -> None:
    """Writes `trial_frame` as a Parquet file, whole or not at all.

    A Parquet column has one type: where a hyperparameter is a number in some trials and a word in others, all are
    words.

    Raises:
        MissingExtraError: pyarrow, 150 MB that nothing else here needs, is not installed.
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
