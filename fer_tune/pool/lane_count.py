"""How many lanes a worker uses: a given number, or as many as are measured to be worth it.

`auto` measures with the first job of a family: that job's step in one lane, then in two, four and
so on, all replayed together for a moment. It continues as long as the device then trains
at least 5 % more images a second. The jobs of a search do not show it themselves: each has another
network, and most end within a second. The answer is kept in a file for each family and device, so
that the next run begins with it.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

from fer_tune.errors import StorageError
from fer_tune.files import replace_text
from fer_tune.job import Job
from fer_tune.pool.port import Lanes

MOST_MEASURED = 8
"""The most lanes that `auto` tries. In a search, more mostly wait for one another's captures."""
WORTH = 1.05
"""Twice the lanes must train this many times the images a second."""


class LaneCount:
    """The number of lanes of one worker.

    Args:
        lanes: a number, or `auto`.
        hardware: the name of the worker's device. Without one, or on a CPU, `auto` is 1.
        remembered: the file in which `auto` keeps its answers.

    """

    def __init__(self, lanes: Lanes, hardware: str | None = None, remembered: Path | None = None) -> None:
        self._hardware = None if lanes != "auto" or hardware == "cpu" else hardware
        self._remembered = remembered
        self._given = 1 if lanes == "auto" else lanes
        self._family = ""  # of the job that started last
        self._answers: dict[str, int] = {}
        """The lanes of the families that are known, by family."""

    @property
    def measures(self) -> bool:
        """Whether the number is measured or remembered, not given."""
        return self._hardware is not None

    @property
    def lanes(self) -> int:
        """The number at present, for the family of the job that started last."""
        return self._answers.get(self._family, 1) if self.measures else self._given

    @property
    def settled(self) -> bool:
        """Whether the number at present is final."""
        return not self.measures or self._family in self._answers

    def knows(self, job: Job) -> bool:
        """Returns whether the lanes for a job's family need not be measured."""
        return not self.measures or job.family in self._answers

    def starts(self, job: Job) -> bool:
        """A job starts. Returns whether the lanes for its family must be measured first."""
        if self.measures and job.family != self._family:
            self._family = job.family
            known = _read(self._remembered).get(self._key(job.family))
            if known is not None:
                self._answers[job.family] = known
        return not self.knows(job)

    def measure(self, job: Job, rates: Iterator[float | None]) -> Generator[None, None, None]:
        """Finds the number of lanes for a job's family, and yields where another job may have its
        turn.

        Args:
            rates: the images a second of 1, 2, 4 and so on lanes, as far as memory suffices. None
                comes in between. Where memory ends them, the answer is for this run only: another
                process may have taken the memory.
        """
        best, lanes = 0.0, 0
        for rate in rates:
            if rate is None:
                yield
                continue
            if rate < WORTH * best:
                return self._settle(job.family, lanes)
            best, lanes = rate, max(1, 2 * lanes)
            if lanes == MOST_MEASURED:
                return self._settle(job.family, lanes)
        if lanes:
            self._answers[job.family] = lanes
        return None

    def _settle(self, family: str, lanes: int) -> None:
        self._answers[family] = lanes
        if self._remembered is not None:
            with suppress(StorageError):  # the disk is full: the next run measures again
                answers = _read(self._remembered) | {self._key(family): lanes}
                replace_text(self._remembered, json.dumps(answers, indent=1, sort_keys=True) + "\n")

    def _key(self, family: str) -> str:
        return f"{family} on {self._hardware}"


def _read(path: Path | None) -> dict[str, int]:
    """Returns the remembered answers. A file that is missing or damaged has none."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {key: lanes for key, lanes in found.items() if isinstance(lanes, int) and 1 <= lanes <= MOST_MEASURED}
    except (OSError, ValueError, AttributeError):
        return {}
