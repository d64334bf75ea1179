"""The observer that runs a mirror beside each study of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from fer_tune.errors import FerTuneError
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.outcome import Plan, StudyOutcome
from fer_tune.mirror import process
from fer_tune.mirror.process import GRACE, WANDB, MirrorHandle
from fer_tune.mirror.tracker import Mode, all_asked_for
from fer_tune.mirror.trackers import TRACKERS
from fer_tune.pool import WorkerInfo
from fer_tune.settings import Settings

if TYPE_CHECKING:
    from fer_tune.study import Counts

GRACE_INTERRUPTED = 2.0
"""Seconds that the mirror has after Ctrl-C. `fer-tune sync` or the next run copies the rest."""

RESTARTS = (0.0, 10.0, 60.0)
"""Seconds between the death of a mirror and its next start: the first, second, third and last time.
"""


class MirrorSupervisor(Observer):
    """Starts a mirror for each study, starts it again when it died, and stops it at the end.

    The run does not need the mirror, so its troubles are notes.
    """

    def __init__(
        self,
        settings: Settings,
        mode: Mode | None,
        note: Callable[[str], object],
        tracker: str = WANDB,
        opened: Callable[[str, str], object] = lambda tracker, place: None,
    ) -> None:
        """
        Args:
            mode: what the user asked for, or None.
            note: is called with one line for the user.
            opened: is called with the tracker and the place of the copy.
        """
        self._settings, self._mode, self._tell, self._tracker = settings, mode, note, tracker
        self._opened = opened
        self._study = ""
        self._handle: MirrorHandle | None = None
        self._restarts: list[float] = []
        self._due: float | None = None
        """When to start a mirror that died, by the monotonic clock. None while it runs."""

    def study_opened(self, plan: Plan, counts: Counts, workers: Sequence[WorkerInfo]) -> None:
        """Starts the mirror."""
        self._stop(GRACE)
        self._study, self._restarts, self._due = plan.study, list(RESTARTS), None
        self._start()
        if self._handle is not None and self._handle.place:
            self._opened(self._tracker, self._handle.place)

    def tick(self) -> None:
        """Starts a mirror that died, a bounded number of times. It does not wait."""
        if self._handle is None or self._handle.pid is None or self._handle.running:
            return
        now = time.monotonic()
        if self._due is None:
            what = "It is started again." if self._restarts else f"`{self._command}` copies what is missing."
            self._tell(f"{self._study}: the mirror to {self._tracker} died. {what} ({self._handle.log})")
            self._due = now + self._restarts.pop(0) if self._restarts else float("inf")
        if now >= self._due:
            self._due = None
            self._handle.stop(0)  # what it had started may still run
            self._start()

    def study_closed(self, outcome: StudyOutcome) -> None:
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
            why = str(error).replace("\n", " ")
            self._tell(f"{self._study} is not copied to {self._tracker}: {why}")
            self._handle = None

    def _stop(self, grace: float) -> None:
        handle, self._handle = self._handle, None
        if handle is not None and not handle.stop(grace):
            self._tell(
                f"{self._study}: {self._tracker} does not have everything yet. `{self._command}` "
                f"or the next run copies the rest ({handle.log})."
            )

    @property
    def _command(self) -> str:
        """Copies what is missing."""
        other = "" if self._tracker == WANDB else f" --tracker {self._tracker}"
        return f"fer-tune sync --study {self._study}{other}"


def supervisors(settings: Settings, wandb: Mode | None, observers: Observer) -> list[MirrorSupervisor]:
    """Returns a supervisor for each tracker.

    Args:
        wandb: the mode that `--wandb` names, or None.
        observers: hear where the copies will be, and what the user should know.
    """
    asked = {WANDB: wandb}
    if unknown := [name for name in all_asked_for() if name not in TRACKERS]:
        known = ", ".join(TRACKERS)
        observers.note(f"FER_TUNE_TRACKERS names {', '.join(unknown)}; the trackers that are known are {known}.")
    return [
        MirrorSupervisor(settings, asked.get(tracker), observers.note, tracker, observers.mirror_opened)
        for tracker in TRACKERS
    ]
