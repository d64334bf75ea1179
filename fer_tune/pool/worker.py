"""The worker: trains one job after another in each of its lanes, and sends what happened.

It knows nothing of Optuna, SQL, wandb or the terminal. It has one pipe to the orchestrator. When
the pipe closes, the run has ended or the orchestrator was killed. The worker then exits at once,
also in the middle of an epoch. That damages nothing, because the orchestrator keeps the rows, and
the worker only ever replaces whole files.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from fer_tune.job import Wish
from fer_tune.pool.lanes import LaneSet
from fer_tune.pool.messages import Has, Ready, Said, Setup, StartJob, StopJob, UseLanes


class Inbox:
    """Reads the pipe in a thread of its own.

    So the training loop can ask for a stop by reading a dictionary. And a closed pipe ends the
    process at once, however busy the loop is. The pipe keeps the order of messages: the next job of
    a lane clears a stop that came after the end of the lane's own job.
    """

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._wishes: defaultdict[int, Wish] = defaultdict(lambda: Wish.CONTINUE)
        self._messages: SimpleQueue[Setup | UseLanes | StartJob] = SimpleQueue()
        self.next = self._messages.get
        self.empty = self._messages.empty
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def stop_requested(self, lane: int) -> Wish:
        """Returns whether, and how, the orchestrator has asked a lane's job to stop."""
        return self._wishes[lane]

    def _read(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # sys.exit would only end this thread, and the main one may be in a kernel
            if isinstance(message, StopJob):
                self._wishes[message.lane] = max(self._wishes[message.lane], message.wish)
                continue
            if isinstance(message, StartJob):
                self._wishes[message.lane] = Wish.CONTINUE
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
    with _without_collections():
        lanes = LaneSet(setup.trainer(setup.device, setup.threads))
    connection.send(Ready())
    has = 1
    while True:
        while not inbox.empty() or not lanes.busy:
            _obey(inbox.next(), lanes, inbox)
            if lanes.lanes != has:
                break
        for lane, message in lanes.turn():
            connection.send(Said(lane, message))
        if lanes.lanes != has:
            has = lanes.lanes
            connection.send(Has(has))


@contextmanager
def _without_collections() -> Iterator[None]:
    """Keeps the garbage collector away while modules are imported.

    They make a million objects and no garbage. Collections were a tenth of torch's import, and
    would later look at these objects again and again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _obey(message: object, lanes: LaneSet, inbox: Inbox) -> None:
    """Does what the orchestrator asks."""
    if isinstance(message, UseLanes):
        lanes.use(message.lanes, message.remembered)
        return
    assert isinstance(message, StartJob)
    job, now = message.job, datetime.now(UTC)
    with suppress(OSError):  # the disk is full; the job matters more than its line in the log
        print(f"{now:%F %T} study {job.study}, {job.label}, attempt {job.attempt}, lane {message.lane}", flush=True)
    lanes.start(message.lane, job, partial(inbox.stop_requested, message.lane))


if __name__ == "__main__":
    main(int(sys.argv[1]))
