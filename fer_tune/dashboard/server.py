"""optuna-dashboard on the configured database, with the pictures of trials."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from optuna.artifacts import FileSystemArtifactStore

from fer_tune.errors import StudyError
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study.storage import optuna_storage


def application(store: Store, settings: Settings) -> Any:
    """Returns the dashboard as a WSGI application."""
    from optuna_dashboard import wsgi

    with suppress(OSError):  # a folder that cannot be written is still shown
        settings.pictures.mkdir(parents=True, exist_ok=True)
    return wsgi(optuna_storage(store), artifact_store=FileSystemArtifactStore(settings.pictures))


def study_id(store: Store, study: str) -> int:
    """Returns the number of a study in the addresses of the dashboard.

    Raises:
        StudyError: the study does not exist, or its trials were deleted.
    """
    try:
        return optuna_storage(store).get_study_id_from_name(store.studies.get(study).name)
    except KeyError as error:
        hint = "Somebody deleted them. `fer-tune studies` lists the studies."
        raise StudyError(f"The trials of the study {study} are not in {store.shown}.", hint) from error
