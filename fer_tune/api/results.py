"""Reads studies and their trials from the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fer_tune.api.arguments import as_words, at_least, open_store, study_name
from fer_tune.errors import StudyError
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from pandas import DataFrame

    from fer_tune.store import StudyRecord
    from fer_tune.study import StudySummary, TrialSummary
    from fer_tune.study.trial_logs import TrialLog


def find_study(study: str | None = None, *, storage: str | None = None) -> StudyRecord:
    """Returns the record of a study: its family, its sweep, its images.

    Raises:
        StudyError: there is no such study. Or none was named, and there is not exactly one.
    """
    with open_store(storage) as store:
        return store.studies.get(study_name(store, study))


def studies(*, storage: str | None = None) -> list[StudySummary]:
    """Returns all studies with their counts and best trials, the oldest first."""
    from fer_tune.study import summaries

    with open_store(storage) as store:
        return summaries(store)


def best(study: str | None = None, top: int = 1, *, storage: str | None = None) -> list[TrialSummary]:
    """Returns the best complete trials of a study, the best first. Empty if none has completed.

    Confirmed trials come first, ranked by their means. `standings` says how sure the order is.

    Raises:
        SettingsError: `top` is below 1.
    """
    from fer_tune.study.standings import best as read

    at_least(1, top=top)
    with open_store(storage) as store:
        return read(store, study_name(store, study), top)


def trials(
    study: str | None = None, *, where: str | Sequence[str] = (), sort: str | None = None, storage: str | None = None
) -> list[TrialSummary]:
    """Returns the trials of a study, by number.

    Args:
        where: a condition that a trial must meet, or several: `lr>0.01`, `optimizer=sgd` or
            `state!=failed`.
        sort: `value` puts the best first. Any other name, such as `lr`, sorts from low to high, and
            `-lr` from high to low.

    Raises:
        StudyError: there is no such study.
        SettingsError: a condition cannot be read, or no trial has what it names.
    """
    from fer_tune.study import trials as read
    from fer_tune.study.picking import pick

    with open_store(storage) as store:
        found = read(store, study_name(store, study))
    return pick(found, as_words(where), sort) if where or sort is not None else found


def failures(study: str | None = None, *, storage: str | None = None) -> dict[int, str]:
    """Returns the traceback, or the end of the log, of each failed trial's last attempt, by the
    trial's number.
    """
    with open_store(storage) as store:
        attempts = store.jobs.attempts(study_name(store, study))
        return {attempt.number: attempt.detail for attempt in attempts if attempt.number is not None}


def logs(study: str | None = None, trial: int | None = None, *, storage: str | None = None) -> list[TrialLog]:
    """Returns the attempts at a trial, with the lines that workers wrote meanwhile.

    Args:
        trial: its number. None is the latest trial that failed.

    Raises:
        StudyError: there is no such study or trial, or none was named and none has failed. Or no
            worker has started the trial; then the message says why it failed.
    """
    from fer_tune.study.summaries import trials as read
    from fer_tune.study.trial_logs import trial_logs

    with open_store(storage) as store:
        name = study_name(store, study)
        if trial is None:
            failed = [one.number for one in read(store, name, ["failed"])]
            if not failed:
                raise StudyError(f"No trial of {name} has failed.", "Name a trial with --trial N.")
            trial = failed[-1]
        return trial_logs(store, Settings.from_environment(storage), name, trial)


def load_trials(study: str | None = None, *, storage: str | None = None) -> DataFrame:
    """Returns the trials of a study as a table, one row for each, by number.

    | column | dtype | |
    |---|---|---|
    | number | int64 | from 0 |
    | state | str | complete, pruned, failed, paused, requeued, running, interrupted or waiting |
    | value | float64 | in 0..1: best epoch of a complete trial, last one of a pruned one |
    | epochs | int64 | how many were reported |
    | best_epoch | Int64 | the first epoch with the highest objective, from 1 |
    | name | str | of the `start:` configuration that it came from |
    | started, ended | datetime64[us, UTC] | |
    | seconds | float64 | from start to end, with the time of waiting for a worker |
    | params.lr, ... | as searched | one column for each hyperparameter, also for fixed ones |
    | attrs.device, ... | as recorded | Optuna's user attributes, such as `attrs.parameters` |

    A value that a trial does not have is nan, NA or None. The columns up to `seconds` exist for
    every study. A column of hyperparameters has dtype object if it has words in some trials and
    numbers in others.
    """
    from fer_tune.report import tables

    return tables.trial_frame(trials(study, storage=storage))


def load_epochs(
    study: str | None = None, trial: int | None = None, *, storage: str | None = None, attempts: bool = False
) -> DataFrame:
    """Returns the learning curves of a study as a table, one row for each epoch, by trial and
    epoch.

    | column | dtype | |
    |---|---|---|
    | number, attempt, epoch | int64 | the trial's number; its attempt, from 0; the epoch, from 1 |
    | train_loss, val_loss | float64 | mean cross-entropy in nats |
    | train_accuracy, val_accuracy, val_macro_f1, val_balanced_accuracy | float64 | in 0..1 |
    | lr | float64 | learning rate of the epoch's last step |
    | seconds | float64 | of training and validation |
    | images_per_second | float64 | training images over `seconds` |
    | device_seconds | float64 | the trial's share of its device in `seconds` |
    | recall.angry, ... | float64 | for each class on validation, in 0..1; nan without images |

    Args:
        trial: the number of one trial.
        attempts: whether to include epochs that a later attempt trained again.
    """
    from fer_tune.report import tables

    with open_store(storage) as store:
        return tables.epoch_frame(store, study_name(store, study), trial, attempts)
