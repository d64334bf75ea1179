"""The mirror's process: `python -m fer_tune.mirror STUDY MODE PRIORITY`, until its standard input ends.

It must never cost a sweep anything, and must not need luck:

- Beside a sweep (PRIORITY `low`) every other process goes first, and so it does before wandb's own process below.
- While wandb's server cannot be reached it only asks whether it can: nothing heavy is imported, wandb is not begun.
- After any failure it puts another process in its place and ends wandb's: wandb keeps what it could not send, and
  refuses to open a run anew. The new one knows what is in the database, which is all that there is to know.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from fer_tune.mirror.network import trouble
from fer_tune.mirror.secrets import redact, scrub
from fer_tune.settings import Settings

PAUSE = 2.0
"""Seconds between two looks at the database, at least."""

SHARE = 5.0
"""A look that took much processor time is followed by a pause so many times as long."""

LONGEST_PAUSE = 60.0
"""Seconds between two looks at most; while wandb or the database fails, the pause is doubled up to this."""


def main(study: str, mode: str, priority: str, pause: str = str(PAUSE)) -> int:
    """Copies until standard input ends, then once more; 0 if everything was copied."""
    if priority == "low":
        _step_back()
    over = threading.Event()
    threading.Thread(target=_await_end, args=(over,), daemon=True).start()
    if mode == "online" and not _await_server(over):
        return 1
    looks = _Looks(study, mode, over)
    try:
        looks.until_over()
        return 0
    except Exception as error:  # wandb raises whatever its network raises
        _log(f"{type(error).__name__}: {error}")
        _end_children()
        scrub(Settings.from_environment().wandb)
        if over.is_set():
            return 1
        seconds = PAUSE if looks.done else float(pause)
        if over.wait(seconds):
            return 1
        _begin_anew(study, mode, priority, str(min(2 * seconds, LONGEST_PAUSE)))


class _Looks:
    """Looks at the database, one after another; `done` counts those that copied everything there was."""

    def __init__(self, study: str, mode: str, over: threading.Event) -> None:
        self.study, self.mode, self.over = study, mode, over
        self.done = 0

    def until_over(self) -> None:
        """The last look begins after standard input has ended: what is in the database by then will be copied."""
        from fer_tune.mirror.copying import Copier, Runs
        from fer_tune.mirror.lock import MirrorLock
        from fer_tune.store import Store

        settings = Settings.from_environment()
        with MirrorLock(settings, self.study), Store.of(settings, create=False) as store:
            runs: Runs
            if self.mode == "online":
                from fer_tune.mirror.online import OnlineRuns

                runs = OnlineRuns(settings.root)
            else:
                from fer_tune.mirror.offline import OfflineRuns

                runs = OfflineRuns(settings.root)
            copier = Copier(store, self.study, runs)
            while True:
                last = self.over.is_set()
                began = time.process_time()
                copier.copy(everything=last)
                self.done += 1
                if last:
                    runs.close()
                    return
                self.over.wait(min(LONGEST_PAUSE, max(PAUSE, SHARE * (time.process_time() - began))))


def _await_server(over: threading.Event) -> bool:
    """Waits until wandb's server can be reached; False if standard input ends before."""
    pause, said = PAUSE, ""
    while True:
        last = over.is_set()
        wrong = trouble(timeout=1.0) if last else trouble()
        if not wrong:
            return True
        if wrong != said:
            _log(wrong)
            said = wrong
        if last:
            return False
        over.wait(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _await_end(over: threading.Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    over.set()


def _step_back() -> None:
    """Lets every other process go first.

    Between sessions, Linux may share a processor by the session's niceness and not by the process's; the mirror has a
    session of its own, so it sets both.
    """
    os.nice(19)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19", encoding="ascii")


def _end_children() -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()


def _begin_anew(*words: str) -> NoReturn:
    os.execv(sys.executable, [sys.executable, "-m", "fer_tune.mirror", *words])


def _log(text: str) -> None:
    line = " ".join(redact(text).split())
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    if code:
        os._exit(code)  # wandb's own end would wait once more for what failed
    sys.exit(0)
