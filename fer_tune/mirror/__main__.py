"""The mirror's process: `python -m fer_tune.mirror STUDY TRACKER MODE JOBS PRIORITY`.

It keeps one copying process alive (`copying.py`) until its standard input ends. It must not cost a
sweep anything:

- Beside a sweep (PRIORITY `low`) it and all processes below it give way to every other process.
- While the tracker's server cannot be reached, it only asks whether it can. Nothing heavy starts.
- After a failure it ends what the copying process left and starts another one. A tracker's library
  keeps what it could not send, and may refuse to open a run a second time. A new process knows what
  the database and the server say, and that is all there is to know.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from fer_tune.mirror.copying import LONGEST_PAUSE, PAUSE, log, until_input_ends
from fer_tune.mirror.tracker import Adapter
from fer_tune.mirror.trackers import adapter
from fer_tune.settings import Settings

TIMEOUT = 3.0
"""Seconds that the tracker's server has to answer."""

LAST_TIMEOUT = 1.0
"""The same when nothing more will come, and somebody waits for the mirror's end."""


def main(study: str, tracker: str, mode: str, jobs: str, priority: str) -> int:
    """Has a study copied until standard input ends. Returns 0 if everything was copied."""
    if priority == "low":
        _give_way()
    to = adapter(tracker)
    over = until_input_ends()
    pause = PAUSE
    while mode != "online" or _reachable(to, over):
        began = time.monotonic()
        if _copy(study, tracker, mode, jobs) == 0:
            return 0
        _end_what_is_left()
        to.clean_logs(Settings.from_environment())
        if time.monotonic() - began > LONGEST_PAUSE:
            pause = PAUSE  # it worked for a while, so this is another trouble
        if over.wait(pause):
            return 1
        pause = min(2 * pause, LONGEST_PAUSE)
    return 1


def _copy(*words: str) -> int:
    """Runs one copying process and returns its exit code.

    It ends when our input ends, which it reads too.
    """
    return subprocess.run([sys.executable, "-m", "fer_tune.mirror.copying", *words], check=False).returncode


def _reachable(to: Adapter, over: threading.Event) -> bool:
    """Waits until the tracker's server can be reached.

    Returns False if standard input ends first.
    """
    pause, said = PAUSE, ""
    while True:
        last = over.is_set()
        wrong = to.trouble(LAST_TIMEOUT if last else TIMEOUT)
        if wrong and wrong != said:
            log(to, wrong)
            said = wrong
        if last or not wrong:
            return not wrong
        over.wait(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _give_way() -> None:
    """Lets every other process run first.

    Between sessions, Linux may share a processor by the session's niceness and not by the
    process's. The mirror has a session of its own, so it sets both.
    """
    os.nice(19)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19", encoding="ascii")


def _end_what_is_left() -> None:
    """Kills the other processes of this group. The tracker's library may have started some."""
    import psutil

    for pid in psutil.pids():
        with suppress(OSError):
            if pid != os.getpid() and os.getpgid(pid) == os.getpgrp():
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
