"""The observer that runs a mirror beside each study of a run."""

from __future__ import annotations

import time
<<<<<<< HEAD
from collections.abc import Callable, Sequence
from types import TracebackType
=======
from collections.abc import Callable
from types import TracebackType
from typing import Any
>>>>>>> mirror

from fer_tune.errors import FerTuneError
from fer_tune.jobs.observers import Observer
<<<<<<< HEAD
from fer_tune.jobs.outcome import Plan, StudyOutcome
from fer_tune.mirror import GRACE, MirrorHandle, Mode, choose_mode
from fer_tune.pool import WorkerInfo
=======
from fer_tune.mirror import process
from fer_tune.mirror.process import GRACE, WANDB, MirrorHandle
from fer_tune.mirror.tracker import Mode
from fer_tune.mirror.trackers import TRACKERS
>>>>>>> mirror
from fer_tune.settings import Settings
from fer_tune.study import Counts

GRACE_INTERRUPTED = 2.0
"""Seconds that the mirror has after Ctrl-C. `fer-tune sync` or the next run copies the rest."""

RESTARTS = (0.0, 10.0, 60.0)
"""Seconds between the death of a mirror and its next start: the first, second, third and last time."""


class MirrorSupervisor(Observer):
    """Starts a mirror when a study opens, starts it again when it died, and stops it when the study closes.

    The run does not need the mirror, so its troubles are notes.
<<<<<<< HEAD

    Args:
        mode: what the user asked for, or None.
        note: is called with one line for the user.
    """

    def __init__(self, settings: Settings, mode: Mode | None, note: Callable[[str], object]) -> None:
        self._settings, self._mode, self._tell = settings, choose_mode(mode), note
=======
    """

    def __init__(
        self, settings: Settings, mode: Mode | None, note: Callable[[str], object], tracker: str = WANDB
    ) -> None:
        """
        Args:
            mode: what the user asked for, or None.
            note: is called with one line for the user.
        """
        self._settings, self._mode, self._tell, self._tracker = settings, mode, note, tracker
>>>>>>> mirror
        self._study = ""
        self._handle: MirrorHandle | None = None
        self._restarts: list[float] = []
        self._due: float | None = None
        """When to start a mirror that died, by the monotonic clock. None while it runs."""

<<<<<<< HEAD
    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        """Starts the mirror."""
        self._stop(GRACE)
        self._study, self._restarts, self._due = plan.study, list(RESTARTS), None
        if self._mode != "disabled":
            self._start()

    def tick(self) -> None:
        """Starts a mirror that died, a bounded number of times. It does not wait."""
        if self._handle is None or self._handle.running:
=======
    def study_opened(self, sweep: Any, *_: object) -> None:
        """Starts the mirror."""
        self._stop(GRACE)
        self._study, self._restarts, self._due = sweep.study, list(RESTARTS), None
        self._start()

    def tick(self) -> None:
        """Starts a mirror that died, a bounded number of times. It does not wait."""
        if self._handle is None or self._handle.pid is None or self._handle.running:
>>>>>>> mirror
            return
        now = time.monotonic()
        if self._due is None:
            what = "It is started again." if self._restarts else "`fer-tune sync` copies what is missing."
<<<<<<< HEAD
            self._tell(f"{self._study}: the mirror to wandb died. {what} ({self._handle.log})")
=======
            self._tell(f"{self._study}: the mirror to {self._tracker} died. {what} ({self._handle.log})")
>>>>>>> mirror
            self._due = now + self._restarts.pop(0) if self._restarts else float("inf")
        if now >= self._due:
            self._due = None
            self._handle.stop(0)  # what it had started may still run
            self._start()

<<<<<<< HEAD
    def study_closed(self, outcome: StudyOutcome) -> None:
=======
    def study_closed(self, outcome: Any) -> None:
>>>>>>> mirror
        """Gives the mirror some seconds to copy the rest, and stops it."""
        self._stop(GRACE_INTERRUPTED if outcome.reason == "interrupted" else GRACE)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(GRACE_INTERRUPTED)

    def _start(self) -> None:
        try:
            self._handle = process.start(self._settings, self._study, self._mode, tracker=self._tracker)
        except (OSError, FerTuneError) as error:
<<<<<<< HEAD
            self._tell(f"{self._study} is not mirrored to wandb: {error}")
=======
            self._tell(f"{self._study} is not mirrored to {self._tracker}: {error}")
>>>>>>> mirror
            self._handle = None

    def _stop(self, grace: float) -> None:
        handle, self._handle = self._handle, None
        if handle is not None and not handle.stop(grace):
            self._tell(
<<<<<<< HEAD
                f"{self._study}: wandb does not have everything yet. `fer-tune sync --study {self._study}` "
                f"or the next run copies the rest ({handle.log})."
            )
=======
                f"{self._study}: {self._tracker} does not have everything yet. `fer-tune sync --study {self._study}` "
                f"or the next run copies the rest ({handle.log})."
            )


def supervisors(settings: Settings, wandb: Mode | None, note: Callable[[str], object]) -> list[MirrorSupervisor]:
    """Returns a supervisor for each tracker.

    Args:
        wandb: the mode that `--wandb` names, or None.
        note: is called with one line for the user.
    """
    asked = {WANDB: wandb}
    return [MirrorSupervisor(settings, asked.get(tracker), note, tracker) for tracker in TRACKERS]
>>>>>>> mirror
