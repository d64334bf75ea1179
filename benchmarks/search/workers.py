"""Plays many cases at a time, each in a process of the Python that has its library.

A rival's library needs an environment of its own. So there are processes of several Pythons: `own`,
which plays our search and plain Optuna, and one for each environment that `--python` names.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.search.cases import OURS, Case
from benchmarks.search.measure import LIBRARIES

OWN = "own"
"""The name of the Python that runs the comparison."""

WITH_OWN = ("plain_optuna",)
"""The modules of `LIBRARIES` that the own Python plays."""

ROOT = Path(__file__).parents[2]

PACKAGES = ("numpy", "syne-tune", "neural-pipeline-search", "smac", "dehb")

GRACE = 20.0
"""Seconds after the end of the time in which cases that were begun may still end."""

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Variables that keep a process from using more than its core."""


def python_of(rival: str, pythons: Mapping[str, str]) -> str | None:
    """Returns the name of the Python that plays a rival, or None if none was given.

    Args:
        pythons: the given ones by name. The name is that of a module of `LIBRARIES`, or the
            beginning of one, such as `dehb`. `rivals` stands for all that have none of their own.
    """
    if rival.startswith(OURS):
        return OWN
    module = next((module for module, names in LIBRARIES.items() if rival in names), None)
    if module is None or module in WITH_OWN:
        return OWN
    own = next((name for name in pythons if module.startswith(name)), None)
    return own or ("rivals" if "rivals" in pythons else None)


def environments(pythons: Mapping[str, str]) -> dict[str, Any]:
    """Returns the versions of the rivals' libraries, and their numpy, by the name of the Python."""
    code = "import json; from benchmarks.circumstances import versions; print(json.dumps(versions(*%r)))"
    found = {}
    for name, python in pythons.items():
        done = subprocess.run([python, "-c", code % (PACKAGES,)], capture_output=True, text=True, check=False, cwd=ROOT)
        found[name] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


class Workers:
    """Plays cases in several processes.

    Args:
        families: see `worker.Player`.
        pythons: the Pythons by name; see `python_of`.
        processes: cases that are played at the same time.
    """

    def __init__(self, families: dict[str, dict[str, Any]], pythons: Mapping[str, str], processes: int) -> None:
        self._families = json.dumps(families)
        self._pythons = {OWN: sys.executable, **pythons}
        self._processes = processes
        self._children: list[subprocess.Popen[str]] = []

    def play(self, cases: Sequence[Case], seconds: float | None = None) -> Iterator[tuple[Case, dict[str, Any]]]:
        """Yields each case with its trace, or with `error`, as they end.

        Args:
            seconds: no case begins after so many, and none is waited for much longer.
        """
        deadline = float("inf") if seconds is None else time.monotonic() + seconds
        waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
        for case in cases:
            waiting.put(case)
        ended: queue.SimpleQueue[tuple[Case, dict[str, Any]] | None] = queue.SimpleQueue()
        threads = [
            threading.Thread(target=self._lane, args=(waiting, ended, deadline), daemon=True)
            for _ in range(min(self._processes, len(cases)))
        ]
        for thread in threads:
            thread.start()
        lanes = len(threads)
        try:
            while lanes:
                left = deadline + GRACE - time.monotonic()
                if left <= 0:
                    return
                try:
                    found = ended.get(timeout=min(left, 3600.0))
                except queue.Empty:
                    continue
                if found is None:
                    lanes -= 1
                else:
                    yield found
        finally:
            for child in self._children:
                child.kill()
                child.communicate()

    def _lane(self, waiting: Any, ended: Any, deadline: float) -> None:
        """Plays one case after another, each in this lane's process of its Python."""
        children: dict[str, subprocess.Popen[str]] = {}
        while time.monotonic() < deadline:
            try:
                case: Case = waiting.get_nowait()
            except queue.Empty:
                break
            name = python_of(case.rival, self._pythons)
            assert name is not None
            if name not in children:
                children[name] = self._started(name)
            answer = _asked(children[name], case)
            if answer is None:
                children.pop(name).wait()
                answer = {"error": "its process ended"}
            ended.put((case, answer))
        ended.put(None)

    def _started(self, name: str) -> subprocess.Popen[str]:
        environment = os.environ | dict.fromkeys(ONE_THREAD, "1") | {"PYTHONWARNINGS": "ignore"}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        child = subprocess.Popen(
            [self._pythons[name], "-m", "benchmarks.search.worker", self._families],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self._children.append(child)
        return child


def _asked(child: subprocess.Popen[str], case: Case) -> dict[str, Any] | None:
    """Returns what a process answers, or None if it has ended."""
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(case.as_dict()) + "\n")
        child.stdin.flush()
        line = child.stdout.readline()
    except OSError:
        return None
    found: dict[str, Any] | None = json.loads(line) if line else None
    return found
