"""Copies a study to wandb after the fact, whatever a run, a crash or an earlier sync left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fer_tune.errors import FerTuneError, SettingsError
from fer_tune.mirror.process import WANDB, MirrorHandle, MirrorLock, busy, start
from fer_tune.mirror.tracker import Mode
from fer_tune.mirror.trackers import adapter
from fer_tune.settings import Settings
from fer_tune.store import Store

LOOK = 0.2
"""Seconds between two looks at how far the mirror is."""

TAIL = 2000
"""Bytes at the end of the mirror's log that may contain its last line."""


@dataclass(frozen=True)
class Synced:
    """What wandb has of a study now.

    Attributes:
        runs: of jobs that are over.
        left_out: jobs that were not copied because they ran with `--wandb disabled`.
    """

    study: str
    runs: int
    mode: Mode
    left_out: int = 0


def sync(
    settings: Settings,
    store: Store,
    study: str,
    progress: Callable[[int], object] = lambda runs: None,
    *,
    include_disabled: bool = False,
) -> Synced:
    """Copies all that is in the database: online with a key, else into offline files.

    Args:
        progress: is called now and then with the number of runs that wandb has.
        include_disabled: whether to copy the jobs that ran with `--wandb disabled` too.

    Raises:
        StudyError: there is no such study, or it is being mirrored.
        SettingsError: WANDB_MODE forbids it.
        FerTuneError: wandb is not installed, or did not get everything. What it has stays; the next
            sync continues.
    """
    store.studies.get(study)
    mode = adapter(WANDB).mode(None)
    if mode == "disabled":
        raise SettingsError("WANDB_MODE is disabled, so nothing is copied to wandb.", "Unset it, then run this again.")
    holder = MirrorLock(settings, study).holder()
    if holder is not None:
        raise busy(study, holder)
    handle = start(settings, study, mode, priority="normal", jobs="all" if include_disabled else "allowed")
    try:
        handle.let_go()
        while handle.running:
            progress(_finished(store, study))
            time.sleep(LOOK)
        complete = handle.stop()
    finally:
        handle.stop(timeout=0.0)  # after Ctrl-C
    if not complete:
        raise FerTuneError(
            f"wandb did not get everything of {study}: {_last_line(handle)}", "The same command copies the rest."
        )
    cursors = store.cursors.of(study, WANDB)
    left_out = sum(not job.mirrored and job.uid not in cursors for job in store.jobs.of(study))
    return Synced(study, _finished(store, study), mode, left_out)


def _last_line(handle: MirrorHandle) -> str:
    lines = handle.log.read_bytes()[-TAIL:].decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "its mirror ended"


def _finished(store: Store, study: str) -> int:
    return sum(cursor.finished for cursor in store.cursors.of(study, WANDB).values())
