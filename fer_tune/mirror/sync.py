"""Copies a study to a tracker after the fact, whatever a run, a crash or an earlier sync left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from fer_tune.errors import FerTuneError, SettingsError
from fer_tune.mirror.process import WANDB, MirrorHandle, MirrorLock, busy, start
from fer_tune.mirror.tracker import Jobs, Mode
from fer_tune.mirror.trackers import adapter
from fer_tune.settings import Settings
from fer_tune.store import Cursor, Store, claim

LOOK = 0.2
"""Seconds between two looks at how far the mirror is."""

TAIL = 2000
"""Bytes at the end of the mirror's log that may contain its last line."""


@dataclass(frozen=True)
class Synced:
    """What a tracker has of a study now.

    Attributes:
        runs: of jobs that are over.
        left_out: jobs that were not copied because they ran with `--wandb disabled`.
        place: where the copies are, in words.
    """

    study: str
    runs: int
    mode: Mode
    left_out: int = 0
    tracker: str = WANDB
    place: str = ""


def sync(
    settings: Settings,
    store: Store,
    study: str,
    progress: Callable[[int], object] = lambda runs: None,
    *,
    include_disabled: bool = False,
    again: bool = False,
    tracker: str = WANDB,
) -> Synced:
    """Copies all that is in the database. To wandb: online with a key, else into offline files.

    Args:
        again: whether to copy also what was copied before, because it was to another place.
        progress: is called now and then with the number of runs that the tracker has.
        include_disabled: whether to copy the jobs that ran with `--wandb disabled` too.

    Raises:
        StudyError: there is no such study, or it is being mirrored.
        SettingsError: there is no such tracker, or its settings forbid it.
        StorageError: the database belongs to another storage folder, which has the files.
        FerTuneError: its package is not installed, or it did not get everything. What it has stays;
            the next sync continues.
    """
    store.studies.get(study)
    claim(store)
    mode = adapter(tracker).mode(None)
    if mode == "disabled":
        mode = adapter(tracker).on_request or mode
    if mode == "disabled":
        switch = "WANDB_MODE" if tracker == WANDB else tracker
        raise SettingsError(
            f"{switch} is disabled, so nothing is copied to {tracker}.", "Enable it, then run this again."
        )
    holder = MirrorLock(settings, study, tracker).holder()
    if holder is not None:
        raise busy(study, holder)
    if again:
        _forget(store, study, tracker)
    jobs: Jobs = "all" if include_disabled else "allowed"
    handle = start(settings, study, mode, priority="normal", tracker=tracker, jobs=jobs)
    try:
        handle.let_go()
        while handle.running:
            progress(_finished(store, study, tracker))
            time.sleep(LOOK)
        complete = handle.stop()
    finally:
        handle.stop(timeout=0.0)  # after Ctrl-C
    if not complete:
        raise FerTuneError(
            f"{tracker} did not get everything of {study}: {_last_line(handle)}", "The same command copies the rest."
        )
    cursors = store.cursors.of(study, tracker)
    left_out = sum(not job.mirrored and job.uid not in cursors for job in store.jobs.of(study))
    place = adapter(tracker).place(settings, mode)
    return Synced(study, _finished(store, study, tracker), mode, left_out, tracker, place)


def _forget(store: Store, study: str, tracker: str) -> None:
    """Forgets how far each run was copied. Runs keep their ids."""
    for cursor in store.cursors.of(study, tracker).values():
        store.cursors.set(Cursor(cursor.job, cursor.tracker, cursor.run))


def _last_line(handle: MirrorHandle) -> str:
    lines = handle.log.read_bytes()[-TAIL:].decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "its mirror ended"


def _finished(store: Store, study: str, tracker: str) -> int:
    return sum(cursor.finished for cursor in store.cursors.of(study, tracker).values())
