"""What the command line needs beside the public functions."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fer_tune.api.arguments import open_store
from fer_tune.errors import FerTuneError, SettingsError
from fer_tune.files import current_folder_exists
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.selection.overtuning import Meter
    from fer_tune.sources.final_result import FinalFit
    from fer_tune.study.baseline import Gain


def beside_start(study: str, gained: Gain | None, *, storage: str | None = None) -> str:
    """Returns what `gain` returned in words, or why there is no gain. It may be empty."""
    from fer_tune.study.baseline import beside_start as words

    with open_store(storage) as store:
        return words(store, study, gained)


def cut_off(study: str, best: float | None, *, storage: str | None = None) -> str:
    """Returns which unfinished trial was better than all complete ones, in words; empty if none.

    Args:
        best: the highest value of a complete trial.
    """
    from fer_tune.study.cut_off import cut_off as read

    with open_store(storage) as store:
        found = read(store, study, best)
        return "" if found is None else found.sentence()


def meter_of(fits: Sequence[FinalFit], *, storage: str | None = None) -> Meter | None:
    """Returns what `overtuning` says of final fits of one trial, by their plain figures on test.

    Returns:
        None if no fit was tested, or if they are of another kind than `overtuning` counts.
    """
    from fer_tune.study.standings import overtuning
    from fer_tune.study.usual_fits import OnTest, unusual

    with open_store(storage) as store:
        study = store.studies.get(fits[0].study)
        usual = [fit for fit in fits if not unusual(study, on=fit.on, changes=fit.changes, schedule=fit.schedule)]
        tested = [fit for fit in usual if fit.tested]
        if not tested:
            return None
        found = OnTest([fit.plain.scores.accuracy for fit in tested], max(fit.openings for fit in tested))
        return overtuning(store, study.name, fits[0].trial, found)


def explained(error: Exception) -> FerTuneError | None:
    """Returns the error for the user if something outside of fer-tune explains `error`, else None.

    That is a damaged value in a database, or a current folder that was deleted. Without it, the
    error is a bug of fer-tune.
    """
    if isinstance(error, FileNotFoundError) and not current_folder_exists():
        return SettingsError("The current folder was deleted.", "Change to another folder, and try again.")
    reading = sys.modules.get("fer_tune.store.reading")  # not imported: then no database was read
    return None if reading is None else reading.explained(error)


@contextmanager
def dashboard_application(
    study: str | None = None, *, host: str = "127.0.0.1", storage: str | None = None
) -> Iterator[tuple[Any, str]]:
    """Opens optuna-dashboard as a WSGI application, and yields it with the path of a page.

    Args:
        host: the address that it is served at. It answers under no other name.
    """
    from fer_tune.dashboard.server import application, guarded, study_id

    with open_store(storage) as store:
        page = "/dashboard" if study is None else f"/dashboard/studies/{study_id(store, study)}"
        yield guarded(application(store, Settings.from_environment(storage)), host), page
