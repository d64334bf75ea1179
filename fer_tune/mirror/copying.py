"""One copying process: `python -m fer_tune.mirror.copying STUDY TRACKER MODE`, until its standard input ends.

It looks at the database again and again, and copies what is new. After any failure it ends; the mirror's
process (`__main__.py`) starts another one.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import UTC, datetime

<<<<<<< HEAD
from fer_tune.mirror.content import Chain, Run, chains, is_told, record_holders, trial_run
from fer_tune.store import Cursor, Store
from fer_tune.study import trials_and_best
=======
from fer_tune.mirror.tracker import Adapter, Mode
from fer_tune.mirror.trackers import adapter
from fer_tune.settings import Settings
>>>>>>> mirror

PAUSE = 2.0
"""Seconds between two looks at the database, at least."""

SHARE = 5.0
"""A look that took much processor time is followed by a pause this many times as long."""

LONGEST_PAUSE = 60.0
"""Seconds between two looks, and between a failure and the next try, at most."""


def main(study: str, tracker: str, mode: Mode) -> int:
    """Copies until standard input ends, then once more. Returns 0 if everything was copied."""
    to = adapter(tracker)
    try:
        _copy(study, to, mode, until_input_ends())
        return 0
    except Exception as error:  # a tracker raises whatever its network raises
        log(to, f"{type(error).__name__}: {error}")
        return 1


<<<<<<< HEAD
TRACKER = "wandb"


class Copier:
    """Copies one study."""

    def __init__(self, store: Store, study: str, runs: Runs) -> None:
        self.store = store
        self.record = store.studies.get(study)
        self.runs = runs
        self._reopen_left()
=======
def _copy(study: str, to: Adapter, mode: Mode, over: threading.Event) -> None:
    from fer_tune.mirror.outbox import Outbox
    from fer_tune.mirror.process import MirrorLock
    from fer_tune.store import Store

    settings = Settings.from_environment()
    with MirrorLock(settings, study, to.name), Store.of(settings, create=False) as store:
        tracker = to.connect(settings, mode)
        outbox = Outbox(store, study, tracker)
        while True:
            last = over.is_set()  # before the look: what is in the database by then will be copied
            began = time.process_time()
            outbox.copy(everything=last)
            if last:
                tracker.close()
                return
            over.wait(min(LONGEST_PAUSE, max(PAUSE, SHARE * (time.process_time() - began))))
>>>>>>> mirror


def until_input_ends() -> threading.Event:
    """Returns an event that is set when standard input ends."""
    over = threading.Event()

    def read() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        over.set()

<<<<<<< HEAD
    def _waiting(self, everything: bool) -> Iterator[Run]:
        """The runs that have something to bring: by trial, then retrains."""
        found, best = trials_and_best(self.store, self.record.name)
        by_job = self.store.cursors.of(self.record.name, TRACKER)
        allowed = {job.uid for job in self.store.jobs.of(self.record.name, "search") if job.mirrored}
        jobs = {first: _job(chain) for first, chain in chains(found).items()}
        cursors = {first: by_job[job] for first, job in jobs.items() if job in by_job}
        if best is not None:
            self._supersede(found, best, cursors)
        done = {number for number, cursor in cursors.items() if cursor.finished}
        for first, chain in chains(found).items():
            if first in done or jobs[first] not in allowed or not (is_told(chain) or self.runs.live or everything):
                continue
            run = trial_run(self.store, self.record, chain, chain[-1].number == best)
            cursor = cursors.get(first)
            if run.over or (run.history and (cursor is None or (cursor.attempt, cursor.epoch) != run.at)):
                yield run

    def _supersede(self, found: Chain, best: int, cursors: dict[int, Cursor]) -> None:
        """Reopens the run that wandb has as the best, unless it has the best one too: its tag must go first."""
        root = {trial.number: first for first, chain in chains(found).items() for trial in chain}
        done = {number for number, cursor in cursors.items() if cursor.finished}
        known = [root[number] for number in record_holders(found) if number != best and root[number] in done]
        if known and root[best] not in done:
            cursors[known[-1]] = self._reopen(cursors[known[-1]])

    def _reopen_left(self) -> None:
        """What lies elsewhere is brought again, though it was finished there."""
        left = self.runs.left(self.record.uid)
        for cursor in self.store.cursors.of(self.record.name, TRACKER).values():
            if cursor.finished and cursor.run in left:
                self._reopen(cursor)

    def _reopen(self, cursor: Cursor) -> Cursor:
        again = Cursor(cursor.job, TRACKER, cursor.run)
        self.store.cursors.set(again)
        return again

    def _bring(self, run: Run) -> None:
        if run.job not in self.store.cursors.of(self.record.name, TRACKER):
            self.store.cursors.set(Cursor(run.job, TRACKER, run.id))
        self.runs.bring(run)
        self.store.cursors.set(Cursor(run.job, TRACKER, run.id, *run.at, finished=run.over))


def _job(chain: Chain) -> str | None:
    return next((trial.job for trial in reversed(chain) if trial.job), None)
=======
    threading.Thread(target=read, daemon=True).start()
    return over


def log(to: Adapter, text: str) -> None:
    """Writes one line with the time to standard error, without the tracker's keys."""
    line = " ".join(to.redact(text).split())
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    code = main(sys.argv[1], sys.argv[2], sys.argv[3])  # type: ignore[arg-type]
    if code:
        os._exit(code)  # a tracker's own end would wait once more for what failed
    sys.exit(0)
>>>>>>> mirror
