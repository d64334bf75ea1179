"""Adds the trials of earlier runs to a display."""

from __future__ import annotations

from contextlib import suppress

from fer_tune.display.run_state import RunState
from fer_tune.errors import FerTuneError
from fer_tune.settings import Settings


def recall(state: RunState, settings: Settings) -> None:
    """Adds what the database knows of the state's study. Without it the run goes well too."""
    from fer_tune.display.from_database import StudyReader
    from fer_tune.store import Store

    with suppress(FerTuneError), Store.of(settings, create=False, patience=2.0) as store:
        StudyReader(store, store.studies.get(state.study)).recall(state)
