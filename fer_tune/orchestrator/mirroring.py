"""The mirror beside a study's turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from fer_tune import mirror
from fer_tune.errors import FerTuneError
from fer_tune.mirror import Mode
from fer_tune.orchestrator.interrupt import Interrupt
from fer_tune.orchestrator.watch import Watch
from fer_tune.settings import Settings

MIRROR_GRACE = 30.0
"""Seconds that the mirror has, after a study's last trial, to copy what is left."""

MIRROR_GRACE_INTERRUPTED = 2.0
"""The same after Ctrl-C; what is left then, `fer-tune sync` or the next run copies."""


@contextmanager
def mirrored(settings: Settings, study: str, mode: Mode | None, watch: Watch, interrupt: Interrupt) -> Iterator[None]:
    """Runs the mirror beside the study. The run needs it for nothing, so its troubles are notes."""
    try:
        if mode != "disabled" and find_spec("wandb") is None:
            raise FerTuneError("wandb is not installed.", "pip install wandb")
        handle = mirror.start(settings, study, mode)
    except (OSError, FerTuneError) as error:
        watch.note(f"{study} is not mirrored to wandb: {error}")
        yield
        return
    try:
        yield
    finally:
        if not handle.stop(MIRROR_GRACE_INTERRUPTED if interrupt.requested else MIRROR_GRACE):
            watch.note(f"{study}: wandb does not have everything yet; the next run goes on ({handle.log}).")
