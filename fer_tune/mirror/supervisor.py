"""The mirror beside a study's turn."""

from __future__ import annotations

import time
from typing import Self

from fer_tune import mirror
from fer_tune.errors import FerTuneError
from fer_tune.jobs.observers import Observer
from fer_tune.jobs.signals import Signals
from fer_tune.mirror import GRACE, MirrorHandle, Mode, choose_mode
from fer_tune.settings import Settings

GRACE_INTERRUPTED = 2.0
"""Seconds that the mirror has after Ctrl-C; what is left then, `fer-tune sync` or the next run copies."""

RESTARTS = (0.0, 10.0, 60.0)
"""Seconds after which a mirror that died is started again: the first time, the second, the third and last."""


class MirrorSupervisor:
    """Runs the mirror beside the study. The run needs it for nothing, so its troubles are notes."""

    def __init__(self, settings: Settings, study: str, mode: Mode | None, watch: Observer, interrupt: Signals) -> None:
        self._settings, self._study, self._watch, self._interrupt = settings, study, watch, interrupt
        self._mode = choose_mode(mode)
        self._handle: MirrorHandle | None = None
        self._restarts = list(RESTARTS)
        self._due: float | None = None
        """When a mirror that died is to be started again, by the monotonic clock; None while none died."""

    def __enter__(self) -> Self:
        if self._mode != "disabled":
            self._start()
        return self

    def look(self) -> None:
        """Starts a mirror that died again, a bounded number of times; never waits for it."""
        if self._handle is None or self._handle.running:
            return
        now = time.monotonic()
        if self._due is None:
            again = "it is started again" if self._restarts else "it is left so; `fer-tune sync` copies what is missing"
            self._watch.note(f"{self._study}: the mirror to wandb died, {again} ({self._handle.log}).")
            self._due = now + self._restarts.pop(0) if self._restarts else float("inf")
        if now >= self._due:
            self._due = None
            self._handle.stop(0)  # it is dead; what it had started may not be
            self._start()

    def __exit__(self, *_: object) -> None:
        if self._handle is None:
            return
        grace = GRACE_INTERRUPTED if self._interrupt.requested else GRACE
        if not self._handle.stop(grace):
            self._watch.note(
                f"{self._study}: wandb does not have everything yet; `fer-tune sync --study {self._study}` or the next "
                f"run copies the rest ({self._handle.log})."
            )

    def _start(self) -> None:
        try:
            self._handle = mirror.start(self._settings, self._study, self._mode)
        except (OSError, FerTuneError) as error:
            self._watch.note(f"{self._study} is not mirrored to wandb: {error}")
            self._handle = None
