"""Kills a process before its k-th operation: a commit, a rename, a link, an unlink or an fsync.

What is under test runs in a forked child, which has all imports already. So a try takes as long as
the work itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

CALLS = ("replace", "rename", "link", "unlink", "remove", "rmdir", "fsync")
"""Functions of `os` that are operations. `Path` and `shutil` call them."""

KILLED, FAILED = -signal.SIGKILL, 3
"""Exit codes of a child: killed by its harness, and failed with an error."""


class Operations:
    """Counts the operations of this process, and kills it before one of them.

    Args:
        target: the number of the operation, from 1; None kills never.
        names: a file that gets the kind of each operation, one a line.
    """

    def __init__(self, target: int | None, names: Path | None = None) -> None:
        self.count, self._target = 0, target
        self._stream = None if names is None else names.open("w", encoding="utf-8")

    def install(self) -> None:
        """Begins to count. It stays until the process ends."""
        event.listen(Engine, "commit", lambda _connection: self._tick("commit"))
        for name in CALLS:
            setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            self._tick(name)
            return call(*given, **named)

        return counted

    def _tick(self, kind: str) -> None:
        self.count += 1
        if self._stream is not None:
            self._stream.write(f"{kind}\n")
            self._stream.flush()
        if self.count == self._target:
            os.kill(os.getpid(), signal.SIGKILL)


def attempt(work: Callable[[], object], log: Path, target: int | None = None, names: Path | None = None) -> int:
    """Calls `work` in a child, and returns the child's exit code; see `KILLED` and `FAILED`.

    Args:
        log: gets what the child prints.
        target: see `Operations`.
        names: see `Operations`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = FAILED
        try:
            _redirect(log)
            operations = Operations(target, names)
            operations.install()
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def answer(work: Callable[[], Any], log: Path) -> Any:
    """Calls `work` in a child, and returns its result, which JSON can hold.

    Raises:
        RuntimeError: it failed; the log has the traceback.
    """
    out = log.with_suffix(".json")
    out.unlink(missing_ok=True)
    if attempt(lambda: out.write_text(json.dumps(work()), encoding="utf-8"), log) != 0:
        raise RuntimeError(f"the result cannot be read; see {log}")
    return json.loads(out.read_text(encoding="utf-8"))


def _redirect(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
