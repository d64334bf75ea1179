"""One copying process: `python -m fer_tune.mirror.copying STUDY TRACKER MODE JOBS`.

Until its standard input ends, it looks at the database again and again and copies what is new.
After any failure it ends, and the mirror's process (`__main__.py`) starts another one.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from datetime import UTC, datetime

from fer_tune.mirror.tracker import Adapter, Jobs, Mode
from fer_tune.mirror.trackers import adapter
from fer_tune.settings import Settings

PAUSE = 2.0
"""Seconds between two looks at the database, at least."""

SHARE = 5.0
"""A look that took much processor time is followed by a pause this many times as long."""

LONGEST_PAUSE = 60.0
"""Seconds between two looks, and between a failure and the next try, at most."""


def main(study: str, tracker: str, mode: Mode, jobs: Jobs) -> int:
    """Copies until standard input ends, then once more. Returns 0 if everything was copied."""
    to = adapter(tracker)
    try:
        _copy(study, to, mode, until_input_ends(), include_disabled=jobs == "all")
        return 0
    except Exception as error:  # a tracker raises whatever its network raises
        log(to, f"{type(error).__name__}: {error}")
        return 1


def _copy(study: str, to: Adapter, mode: Mode, over: threading.Event, *, include_disabled: bool) -> None:
    from fer_tune.mirror.outbox import Outbox
    from fer_tune.mirror.process import MirrorLock
    from fer_tune.store import Store

    settings = Settings.from_environment()
    with MirrorLock(settings, study, to.name), Store.of(settings, create=False) as store:
        tracker = to.connect(settings, mode)
        outbox = Outbox(store, study, tracker, to.name, include_disabled)
        while True:
            last = over.is_set()  # before the look: what is in the database by then will be copied
            began = time.process_time()
            outbox.copy(everything=last)
            if last:
                tracker.close()
                return
            over.wait(min(LONGEST_PAUSE, max(PAUSE, SHARE * (time.process_time() - began))))


def until_input_ends() -> threading.Event:
    """Returns an event that is set when standard input ends."""
    over = threading.Event()

    def read() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        over.set()

    threading.Thread(target=read, daemon=True).start()
    return over


def log(to: Adapter, text: str) -> None:
    """Writes one line with the time to standard error, without the tracker's keys."""
    line = " ".join(to.redact(text).split())
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    code = main(*sys.argv[1:])  # type: ignore[arg-type]
    if code:
        os._exit(code)  # a tracker's own end would wait once more for what failed
    sys.exit(0)
