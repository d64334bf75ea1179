"""Writes what studies found: a page, a Parquet file, copies for trackers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fer_tune.api.arguments import open_store, study_names
from fer_tune.api.results import trials
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.mirror.sync import Synced


def write_report(
    out: str | os.PathLike[str],
    studies: str | Sequence[str] | None = None,
    form: Literal["html", "md"] = "html",
    *,
    storage: str | None = None,
) -> Path:
    """Writes what studies found into one file, and returns its path. See also `publish_report`.

    Args:
        studies: names. None is all.
        form: `html` needs no network. `md` has tables for a README.
    """
    from fer_tune.files import replace_text
    from fer_tune.report.page import render

    file = Path(out)
    with open_store(storage) as store:
        replace_text(file, render(store, study_names(store, studies), form))
    return file


def publish_report(studies: str | Sequence[str] | None = None, *, storage: str | None = None) -> list[str]:
    """Logs the report on each study to wandb, in the study's group, and returns where the runs are.

    A run has the page of `write_report`, and tables of the trials and their epochs. It is online
    with a key, and offline without one or with WANDB_MODE=offline.

    Args:
        studies: names. None is all.

    Raises:
        StudyError: there is no such study.
        SettingsError: WANDB_MODE is `disabled`.
        StorageError: wandb's server does not answer.
    """
    from fer_tune.mirror.wandb_tracker.publish import Report, Table, publish
    from fer_tune.report.page import render
    from fer_tune.report.study_report import read_study
    from fer_tune.report.tables import epoch_frame, plain_table, trial_rows

    places = []
    with open_store(storage) as store:
        for name in study_names(store, studies):
            found = read_study(store, name)
            epochs = epoch_frame(store, name)
            tables = {
                "trials": Table(*plain_table(trial_rows(found.trials))),
                "epochs": Table(list(epochs.columns), epochs.values.tolist()),
            }
            figures = {
                "best_value": found.best.value if found.best else None,
                "baseline": found.baseline,
                "trials": len(found.trials),
                "objective": found.record.objective,
            }
            report = Report(name, found.record.uid, render(store, [name]), tables, figures)
            places.append(publish(report, Settings.from_environment(storage)))
    return places


def write_parquet(out: str | os.PathLike[str], study: str | None = None, *, storage: str | None = None) -> Path:
    """Writes the trials of a study into a Parquet file, and returns its path.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    from fer_tune.report import tables

    tables.write_parquet(trials(study, storage=storage), Path(out))
    return Path(out)


def sync(
    study: str,
    *,
    include_disabled: bool = False,
    again: bool = False,
    tracker: str = "wandb",
    progress: Callable[[int], object] = lambda runs: None,
    storage: str | None = None,
) -> Synced:
    """Copies to wandb what it does not have of a study: online with a key, else into offline files.

    Args:
        include_disabled: whether to copy the jobs that ran with `--wandb disabled` too.
        again: whether to copy everything once more, because it should be in another place.
        tracker: another tracker to copy to.
        progress: is called with the number of runs that are finished.
    """
    from fer_tune.mirror.sync import sync as copy

    with open_store(storage) as store:
        settings = Settings.from_environment(storage)
        return copy(settings, store, study, progress, include_disabled=include_disabled, again=again, tracker=tracker)
