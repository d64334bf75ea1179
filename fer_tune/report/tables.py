"""Trials and epochs as tables: pandas frames, rows and Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tune.errors import MissingExtraError
from fer_tune.store import Store
from fer_tune.store.epochs import MEASURES
from fer_tune.study import TrialSummary

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


def trial_rows(trials: Iterable[TrialSummary]) -> list[dict[str, Any]]:
    """Returns a mapping for each trial: the columns of `load_trials` that it has values for."""
    rows = []
    for trial in trials:
        row: dict[str, Any] = {name: getattr(trial, name) for name in TRIAL_COLUMNS}
        row |= {f"params.{name}": value for name, value in trial.params.items()}
        row |= {f"attrs.{name}": value for name, value in trial.attrs.items()}
        rows.append(row)
    return rows


def plain_table(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Returns columns and rows of numbers, words and None, for programs without other types."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return columns, [[_plain(row.get(name)) for name in columns] for row in rows]


def _plain(cell: Any) -> Any:
    known = cell is None or isinstance(cell, bool | int | float | str)
    return cell if known else cell.isoformat() if isinstance(cell, datetime) else str(cell)


def trial_frame(trials: Iterable[TrialSummary]) -> DataFrame:
    """Returns `trial_rows` as a frame. Without trials it has the fixed columns and no rows."""
    from pandas import DataFrame

    rows = trial_rows(trials)
    columns = dict.fromkeys([*TRIAL_COLUMNS, *(name for row in rows for name in row)])
    return DataFrame(rows, columns=list(columns)).astype(TRIAL_DTYPES)


def epoch_frame(store: Store, study: str, trial: int | None = None, attempts: bool = False) -> DataFrame:
    """Returns the epochs of a study's trials, or of one trial; see `fer_tune.load_epochs`.

    Args:
        attempts: whether to include the epochs that a later attempt trained again.

    Raises:
        StudyError: the study does not exist.
    """
    from pandas import DataFrame

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


def write_parquet(trials: Iterable[TrialSummary], path: Path) -> None:
    """Writes `trial_frame` as a Parquet file, whole or not at all.

    A Parquet column has one type. So a hyperparameter that is a number in some trials and a word in
    others is written as words.

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
