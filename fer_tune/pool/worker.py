"""The worker: trains one job after another and sends what happened.

It knows nothing of Optuna, SQL, wandb or the terminal. It has one pipe to the orchestrator. When
the pipe closes, the run has ended or the orchestrator was killed. The worker then exits at once,
also in the middle of an epoch. That damages nothing, because the orchestrator keeps the rows, and
the worker only ever replaces whole files.
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

    So the training loop can ask for a stop by reading an attribute. And a closed pipe ends the
    process at once, however busy the loop is. The pipe keeps the order of messages: the next job
    clears a stop that came after the end of its own job.
    """

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._wish = Wish.CONTINUE
        self._messages: SimpleQueue[Setup | Job] = SimpleQueue()
        self.next = self._messages.get
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def stop_requested(self) -> Wish:
        """Returns whether, and how, the orchestrator has asked the running job to stop."""
        return self._wish

    def _read(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # sys.exit would only end this thread, and the main one may be in a kernel
            if isinstance(message, Stop):
                self._wish = max(self._wish, message.wish)
            else:
                self._wish = Wish.CONTINUE
                self._messages.put(message)


def main(descriptor: int) -> None:
    """Runs a worker until its pipe closes.

    Args:
        descriptor: the file descriptor of the worker's end of the pipe.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the orchestrator decides when to end
    faulthandler.enable()  # a crash in native code then writes its stack to the log
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
        with suppress(OSError):  # the disk is full; the job matters more than its line in the log
            print(f"{now:%F %T} study {job.study}, {job.label}, attempt {job.attempt}", flush=True)
        for message in trainer.train(job, inbox.stop_requested):
            connection.send(message)


if __name__ == "__main__":
    main(int(sys.argv[1]))
