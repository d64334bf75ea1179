"""A search of five trials, also for processes that tests start: it imports no test and no torch."""

from __future__ import annotations

from fer_tune.jobs import Observer
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.sources.workers import RunOptions
from tests.pool.trainers import obedient
from tests.searches import obedient_sweep

OPTIONS = RunOptions(engine="inline", devices="cpu", wandb="disabled")


def searched(watch: Observer, settings: Settings) -> None:
    """Runs the search in this process."""
    run_sweeps([obedient_sweep(5)], settings, OPTIONS, watch, obedient)
