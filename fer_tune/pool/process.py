"""Starts a worker's process, and says how it ended.

Each worker is a new interpreter, connected by one pipe. It is never a fork, because CUDA and
threads do not survive one. This module does without `multiprocessing.Process`, which cannot do
three things. It cannot set the worker's environment before the first import. It cannot write all
output of the interpreter to a log. It cannot start the worker in a session of its own, which keeps
Ctrl-C in the terminal away from it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from fer_tune.errors import PoolError
from fer_tune.files import current_folder_exists
from fer_tune.pool.devices import environment
from fer_tune.pool.messages import Setup
from fer_tune.pool.port import TrainerFactory

LOG_LINES = 20
"""Lines of a worker's log that an error shows."""


def start_process(
    device: str, threads: int, log: Path, trainer: TrainerFactory, storage: Path | None = None
) -> tuple[subprocess.Popen[bytes], Connection[Any, Any]]:
    """Starts a worker's process, and returns it and our end of its pipe.

    It returns at once. The process then imports torch.

    Args:
        storage: the worker's storage folder; None means that of this process.

    Raises:
        OSError: the process cannot be started; see `cannot_start`.
    """
    os.getcwd()  # without its current folder, Python ends before it can say why
    variables, name = environment(device, threads)
    # The worker gets the caller's import path, as with multiprocessing. -P keeps modules of the
    # current folder from replacing others.
    variables["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    if storage is not None:
        variables["FER_TUNE_DIR"] = str(storage)
    ours, theirs = Pipe()
    with theirs, _opened(log) as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fer_tune.pool.worker", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=variables,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    with suppress(OSError):  # it has just died, which the next read notices
        ours.send(Setup(trainer, name, threads))
    return process, ours


def cannot_start(error: OSError, logs: Path) -> PoolError:
    """Returns the error for the user when `error` keeps a worker from starting.

    Args:
        logs: the folder of the workers' logs.
    """
    if not current_folder_exists():
        why, hint = "The current folder was deleted", "Change to another folder, and try again."
    elif error.filename == sys.executable:
        why = f"The program {sys.executable} cannot be started ({error.strerror})"
        hint = "It is the Python of this run. If its environment was moved or deleted, install fer-tune again."
    elif error.filename is not None:
        why = f"The folder {logs} cannot be written ({error.strerror}: {error.filename})"
        hint = "Set FER_TUNE_DIR to a folder that can be written."
    else:
        why = f"No more processes can be started ({error.strerror})"
        hint = "See whether a limit of processes or of open files is reached: ulimit -a."
    return PoolError(f"A worker cannot be started. {why}.", hint)


def tail(log: Path) -> str:
    """Returns the last lines of a log."""
    try:
        text = log.read_bytes()[-16384:].decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-LOG_LINES:])


def how_it_ended(returncode: int | None) -> str:
    """Returns how a process ended: `was killed by SIGKILL (out of memory?)` or `exited with 1`."""
    if returncode is None:
        return "closed its pipe but did not end"
    if returncode >= 0:
        return f"exited with {returncode}"
    with suppress(ValueError):
        name = signal.Signals(-returncode).name
        return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"was killed by signal {-returncode}"


def _opened(log: Path) -> IO[bytes]:
    """Opens the log, or `os.devnull` if the disk is read-only: a worker without a log is better
    than none."""
    try:
        return log.open("ab")
    except OSError:
        return open(os.devnull, "ab")
