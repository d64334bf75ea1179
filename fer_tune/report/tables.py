"""Trials and epochs as tables: pandas frames for Python, rows and Parquet for the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer_tune.errors import MissingExtraError
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.store.store import MEASURES
from fer_tune.study import TrialSummary
from fer_tune.study import trials as read_trials
from fer_tune.trial import EMOTIONS

if TYPE_CHECKING:
    from pandas import DataFrame

TRIAL_COLUMNS = ("number", "state", "value", "epochs", "best_epoch", "name", "started", "ended", "seconds")
EPOCH_COLUMNS = ("number", "attempt", "epoch", *MEASURES, *(f"recall.{name}" for name in EMOTIONS))


def load_trials(study: str, storage: str | None = None) -> DataFrame:
    """The trials of a study, one row each, by number.

    Columns: `number`, `state` (complete, pruned, failed, requeued, running, waiting), `value` (the best epoch's
    objective of a complete trial, the last one's of a pruned trial, in 0..1), `epochs`, `best_epoch`, `name`,
    `started` and `ended` (UTC), `seconds`, then `params.lr` and the like for each hyperparameter, and
    `attrs.device` and the like for what Optuna keeps beside. What a trial does not have is missing (nan or None).

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

    Columns: `number` (the trial's), `attempt`, `epoch` (from 1), the fields of `trial.EpochRow` in its units, and
    `recall.angry` and the like.

    Args:
        storage: the database's URL; by default what FER_TUNE_STORAGE or FER_TUNE_DIR name.
        attempts: whether to include epochs that a later attempt trained again.

    Raises:
        StudyError: there is no such study.
        StorageError: the database cannot be read.
    """
    from pandas import DataFrame

    with Store.of(Settings.from_environment(storage), create=False) as store:
        if attempts:
            epochs = store.epochs(study, trial)
        else:
            epochs = [row for curve in store.curves(study, trial).values() for row in curve]
    rows = []
    for epoch in epochs:
        row = asdict(epoch)
        recall = row.pop("recall")
        rows.append(row | {f"recall.{name}": value for name, value in zip(EMOTIONS, recall, strict=True)})
    return DataFrame(rows, columns=list(EPOCH_COLUMNS))


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
    return DataFrame(rows, columns=list(columns))


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
