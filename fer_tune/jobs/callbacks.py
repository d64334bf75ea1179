"""Functions of the user's own that are called when a trial ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fer_tune.job import Job
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import Ended

Callback = Callable[[Job, Ended], object]
"""Is called with a job and how it ended."""


class Callbacks(Observer):
    """Calls functions when a run has finished with a job.

    The first one that raises an error ends all of them, and not the run.
    """

    def __init__(self, functions: Sequence[Callback]) -> None:
        self._functions = tuple(functions)

    def job_ended(self, job: Job, ended: Ended) -> None:
        for function in self._functions:
            function(job, ended)
