"""The mirror's process: `python -m fer_tune.mirror STUDY MODE`, until its standard input ends."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime

from fer_tune.mirror.copying import copy_study
from fer_tune.mirror.mode import redact
from fer_tune.mirror.runs import WandbRuns
from fer_tune.settings import Settings
from fer_tune.store import Store

PAUSE = 2.0
"""Seconds between two looks at the database."""

LONGEST_PAUSE = 60.0
"""The same while wandb or the database fails: doubled after each failure, up to this."""


def main(study: str, mode: str) -> int:
    """Copies until standard input ends, then once more; 0 if everything was copied."""
    settings = Settings.from_environment()
    over = threading.Event()
    threading.Thread(target=_await_end, args=(over,), daemon=True).start()
    runs = WandbRuns(settings.root, online=mode == "online")
    pause = PAUSE
    while True:
        last = over.is_set()  # read before the copying: what is in the database by now will be copied
        try:
            with Store.of(settings, create=False) as store:
                copy_study(store, study, runs)
            pause = PAUSE
        except Exception as error:  # wandb raises whatever its network raises; the next look tries again
            _log(f"{type(error).__name__}: {error}")
            if last:
                return 1
            pause = min(2 * pause, LONGEST_PAUSE)
        if last:
            return 0
        over.wait(pause)


def _await_end(over: threading.Event) -> None:
    while sys.stdin.buffer.read(4096):
        pass
    over.set()


def _log(text: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {redact(text)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
