"""Bringing wandb up to date after the fact, from whatever state a run, a crash or another sync left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fer_tune.errors import FerTuneError, SettingsError
from fer_tune.mirror.copying import TRACKER
from fer_tune.mirror.lock import MirrorLock, busy
from fer_tune.mirror.mode import Mode, choose_mode
from fer_tune.mirror.process import start
from fer_tune.settings import Settings
from fer_tune.store import Store

LOOK = 0.2
"""Seconds between two looks at how far the mirror is."""

TAIL = 2000
"""Bytes of the mirror's log in which its last words are looked for."""


@dataclass(frozen=True)
class Synced:
    """What wandb has of a study now; `runs` counts trials that are over, and retrains."""

    study: str
    runs: int
    mode: Mode


def sync(settings: Settings, store: Store, study: str, progress: Callable[[int], object] = lambda runs: None) -> Synced:
    """Has a mirror copy all that is in the database, online where a key is configured, else into offline files.

    Args:
        progress: told now and then how many runs wandb has.

    Raises:
        StudyError: there is no such study, or it is being mirrored.
        SettingsError: WANDB_MODE forbids it.
        FerTuneError: wandb is not installed, or did not get everything; what it has stays, and the next time goes on.
    """
    store.studies.get(study)
    mode = choose_mode()
    if mode == "disabled":
        raise SettingsError("WANDB_MODE is disabled, so nothing is copied to wandb.", "Unset it, then run this again.")
    holder = MirrorLock(settings, study).holder()
    if holder is not None:
        raise busy(study, holder)
    handle = start(settings, study, mode, priority="normal")
    try:
        handle.let_go()
        while handle.running:
            progress(_finished(store, study))
            time.sleep(LOOK)
        complete = handle.stop()
    finally:
        handle.stop(timeout=0.0)  # after Ctrl-C
    if not complete:
        words = handle.log.read_bytes()[-TAIL:].decode(errors="replace").strip().splitlines()
        raise FerTuneError(
            f"wandb did not get everything of {study}: {words[-1] if words else 'its mirror ended'}",
            "The same command goes on from there.",
        )
    return Synced(study, _finished(store, study), mode)


def _finished(store: Store, study: str) -> int:
    return sum(cursor.finished for cursor in store.cursors.of(study, TRACKER).values())
