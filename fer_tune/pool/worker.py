"""The worker: takes a job, trains it, and says what happened, again and again.

It knows nothing of Optuna, SQL, wandb or the terminal. All it has is one pipe to the
orchestrator, and when that closes it is over: whether the run ended, or the orchestrator
was killed, the process exits at once, also in the middle of an epoch. It owns nothing
that could be torn: rows are the orchestrator's to keep, files are replaced whole.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from fer_tune.job import Job, Wish
from fer_tune.pool.messages import Ready, Setup, Stop


class Inbox:
    """Reads the pipe in a thread of its own.

    So the training loop asks for a stop at the price of an attribute, and a closed pipe
    ends the process however long the loop is busy. The pipe keeps the order, so a stop
    that comes after its trial's end is cleared by the next trial, never applied to it.
    """

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._wish = Wish.CONTINUE
        self._messages: SimpleQueue[Setup | Job] = SimpleQueue()
        self.next = self._messages.get
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def stop_requested(self) -> Wish:
        """What the orchestrator wishes of the running job."""
        return self._wish

    def _read(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # not sys.exit: this is not the main thread, and that one may be deep in a kernel
            if isinstance(message, Stop):
                self._wish = max(self._wish, message.wish)
            else:
                self._wish = Wish.CONTINUE
                self._messages.put(message)


def main(descriptor: int) -> None:
    """Runs a worker on the pipe with this file descriptor, until the pipe closes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the orchestrator decides when to end
    faulthandler.enable()  # a crash in native code leaves its stack in the log
    os.set_inheritable(descriptor, False)
    connection: Connection[Any, Any] = Connection(descriptor)
    inbox = Inbox(connection)
    setup = inbox.next()
    assert isinstance(setup, Setup)
    trainer = setup.trainer(setup.device, setup.threads)
    connection.send(Ready())
    while True:
        job = inbox.next()
        assert isinstance(job, Job)
        now = datetime.now(UTC)
        with suppress(OSError):  # a full disk costs a line of the log
            print(f"{now:%F %T} study {job.study}, {job.label}, attempt {job.attempt}", flush=True)
        for message in trainer.train(job, inbox.stop_requested):
            connection.send(message)


if __name__ == "__main__":
    main(int(sys.argv[1]))
