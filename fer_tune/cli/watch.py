"""`fer-tune watch`: a study from another terminal, read off the database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from fer_tune.cli import show
from fer_tune.cli.board import Place
from fer_tune.cli.live import LiveView
from fer_tune.cli.options import Storage, StudyName, open_store, study_name

if TYPE_CHECKING:
    from fer_tune.store import Store, StudyRecord


def watch(
    study: StudyName = None,
    interval: Annotated[float, typer.Option("--interval", min=0.2, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, print, and end.")] = False,
    storage: Storage = None,
) -> None:
    """Show a study as its run does, from the database alone, until Ctrl-C."""
    out = show.console()
    with open_store(storage) as store:
        record = store.study(study_name(store, study))
        view = LiveView(out)
        look(view, store, record)
        if once or not out.is_terminal:
            out.print(view.draw())
            return
        with view:
            try:
                while True:
                    time.sleep(interval)
                    look(view, store, record)
            except KeyboardInterrupt:
                pass
        out.print(view.draw())


def look(view: LiveView, store: Store, record: StudyRecord) -> None:
    """Brings the view up to date with the database.

    A worker whose last attempt has ended is idle, as far as the database knows. An attempt that its orchestrator
    left open, by being killed, looks as if it ran, until the next run of the sweep ends it.
    """
    from datetime import UTC, datetime

    from fer_tune.study import trials

    found = trials(store, record.name)
    states = [trial.state for trial in found]
    view.study, view.objective = record.name, record.objective
    view.done, view.pruned, view.failed = (states.count(state) for state in ("complete", "pruned", "failed"))
    view.budget = max(_budget(record), view.finished)
    complete = [trial for trial in found if trial.state == "complete" and trial.value is not None]
    best = max(complete, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)
    view.best, view.best_trial = (best.value, best.number) if best else (None, None)
    started = [trial.started for trial in found if trial.started]
    ended = [trial.ended for trial in found if trial.ended]
    until = datetime.now(UTC) if "running" in states else max(ended, default=None)
    seconds = (until - min(started)).total_seconds() if until and started else 0.0
    view.began = time.monotonic() - seconds
    names = {trial.number: trial.name for trial in found}
    curves = store.curves(record.name)
    places: dict[int, Place] = {}
    for attempt in sorted(store.attempts(record.name), key=lambda attempt: attempt.started):
        place = places[attempt.worker] = Place(attempt.device, "idle")
        if attempt.ended is None:
            values = [float(getattr(row, record.objective)) for row in curves.get(attempt.number, [])]
            place.doing, place.trial, place.name = "training", attempt.number, names.get(attempt.number)
            place.epoch, place.epochs = len(values), int(record.sweep_json["epochs"])
            place.value, place.best = (values[-1], max(values)) if values else (None, None)
    view.places = places


def _budget(record: StudyRecord) -> int:
    """Of the sweep as it was run first; a later run may have had another."""
    import yaml

    budget = (yaml.safe_load(record.sweep_text) or {}).get("budget")
    return int(budget.get("trials", 0)) if isinstance(budget, dict) else 0
