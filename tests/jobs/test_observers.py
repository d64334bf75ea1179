"""Tests that a run continues when an observer fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fer_tune.job import EpochRow, Job
from fer_tune.jobs import Observer
from fer_tune.jobs.observers import Observers
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from tests.jobs.helpers import INLINE, Notebook
from tests.pool.trainers import obedient
from tests.searches import make_sweep

HOOKS = [
    name
    for name, member in vars(Observer).items()
    if callable(member) and name not in ("__exit__", "__enter__", "note")
]


class Broken(Observer):
    """Raises an error in one of its methods, and counts the calls of that method."""

    def __init__(self, hook: str) -> None:
        self.calls = 0

        def fail(*_: object) -> None:
            self.calls += 1
            raise ZeroDivisionError("a display's mistake")

        setattr(self, hook, fail)


@pytest.mark.parametrize("hook", ["study_opened", "job_started", "epoch", "job_ended", "tick", "study_closed", "note"])
def test_an_observer_that_fails_is_dropped_and_the_run_goes_on(hook: str, settings: Settings) -> None:
    broken, other = Broken(hook), Notebook()
    observers = Observers([broken, other], settings.logs / "observers.log")
    outcome = run_sweeps([make_sweep(budget=2)], settings, INLINE, observers, obedient)
    if hook == "note":
        observers.note("something")
    assert outcome.completed == 2
    assert len(other.ended) == 2
    assert broken.calls == 1, "it is not called again"
    said = [note for note in other.notes if "Broken failed" in note]
    assert said == [
        "Broken failed (ZeroDivisionError: a display's mistake). The run continues without it. "
        f"The traceback is in {settings.logs / 'observers.log'}."
    ]
    trace = (settings.logs / "observers.log").read_text()
    assert "a display's mistake" in trace
    assert "in fail" in trace


def test_a_display_that_fails_does_not_end_a_run_that_is_given_it(settings: Settings) -> None:
    assert run_sweeps([make_sweep(budget=1)], settings, INLINE, Broken("epoch"), obedient).completed == 1


def test_every_hook_reaches_every_observer(tmp_path: Path) -> None:
    """`Observers` must define each method, because the base class ignores a call."""
    assert set(HOOKS) <= set(vars(Observers))


def test_a_log_that_cannot_be_written_costs_the_log_only(tmp_path: Path) -> None:
    other = Notebook()
    (tmp_path / "file").touch()
    observers = Observers([Broken("tick"), other], tmp_path / "file" / "observers.log")
    observers.tick()
    (note,) = other.notes
    assert note.endswith("The run continues without it.")


def test_a_second_ctrl_c_is_no_failure_of_an_observer(settings: Settings) -> None:
    class Interrupted(Observer):
        def epoch(self, job: Job, row: EpochRow, value: float, replayed: bool) -> None:
            raise KeyboardInterrupt

    outcome = run_sweeps([make_sweep(budget=2)], settings, replace(INLINE), Interrupted(), obedient)
    assert outcome.interrupted
