"""How many lanes a worker uses: a given number, or as many as are measured to be worth it.

`auto` begins with one lane and doubles their number, as long as the device then trains at least 5 %
more images a second. It doubles, because one more lane among many changes less than the jobs
differ. A job's own speed is compared before and after, because other jobs have other speeds. The
answer is kept in a file for each family and device, so that the next run begins with it.

Only steps count, and not the pauses between them. A window of a second holds an evaluation or not,
and that changed a speed more than two lanes do.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from fer_tune.errors import StorageError
from fer_tune.files import replace_text
from fer_tune.job import Job
from fer_tune.pool.port import Lanes

MOST_MEASURED = 16
"""The most lanes that `auto` tries."""
WORTH = 1.05
"""More lanes must train this many times the images a second."""
WINDOW = 1.0
"""Seconds that a speed is measured for, at least."""
FEWEST_TURNS = 8
"""Times that each lane must say that it trained within a window."""

Speeds = dict[str, float]
"""Images a second by the uid of a job."""


@dataclass
class _Window:
    """A time in which the same jobs train.

    Attributes:
        last: when each job last said that it had trained.
        turns: of each job, the seconds of each turn and the images that it trained in them.
    """

    began: float
    last: dict[str, float] = field(default_factory=dict)
    turns: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    def trained(self, uid: str, images: int) -> None:
        """Counts images that a job has trained since it last said so."""
        now = time.monotonic()
        if uid in self.last:
            self.turns[uid].append((now - self.last[uid], images))
        self.last[uid] = now

    def speeds(self, jobs: int) -> Speeds | None:
        """Returns each job's images a second, or None before that many jobs were measured for long enough."""
        fewest = min(map(len, self.turns.values()), default=0)
        if time.monotonic() - self.began < WINDOW or len(self.turns) < jobs or fewest < FEWEST_TURNS:
            return None
        return {uid: speed(turns) for uid, turns in self.turns.items()}


class LaneCount:
    """The number of lanes of one worker.

    Args:
        lanes: a number, or `auto`.
        hardware: the name of the worker's device. Without one, or on a CPU, `auto` is 1.
        remembered: the file in which `auto` keeps its answers.

    Attributes:
        lanes: the number at present.
        settled: whether it is final for the present family.
    """

    def __init__(self, lanes: Lanes, hardware: str | None = None, remembered: Path | None = None) -> None:
        self._hardware = None if lanes != "auto" or hardware == "cpu" else hardware
        self._remembered = remembered
        self.lanes = 1 if lanes == "auto" else lanes
        self._family = ""
        self.settled = self._hardware is None
        self._before: tuple[int, Speeds] | None = None
        self._trained: set[str] = set()
        self._window: _Window | None = None

    def starts(self, job: Job) -> None:
        """A job starts. The first of a family asks what is remembered of it."""
        self._window = None
        if self._hardware is None or job.family == self._family:
            return
        self._family, self._before = job.family, None
        known = _read(self._remembered).get(self._key)
        self.settled, self.lanes = known is not None, known or 1

    def ends(self, uid: str) -> None:
        """A job ends. Speeds are measured with all lanes busy."""
        self._window = None
        self._trained.discard(uid)

    def trained(self, uid: str, images: int) -> None:
        """A job has trained some images."""
        if self.settled:
            return
        self._trained.add(uid)
        if self._window is not None:
            self._window.trained(uid, images)

    def crowded(self, lanes: int) -> None:
        """Memory suffices for no more than so many lanes, which ends the search for more.

        The answer is not kept: it depends on the jobs, and the next run may have others.
        """
        if not self.settled:
            self.lanes, self.settled = max(1, min(lanes, self.lanes)), True

    def measure(self, busy: int) -> None:
        """Changes the number of lanes if the present one was measured for long enough.

        Args:
            busy: how many lanes have jobs.
        """
        if self.settled or busy < self.lanes or len(self._trained) < busy:
            return
        if self._window is None:
            self._window = _Window(time.monotonic())
        speeds = self._window.speeds(busy)
        if speeds is not None:
            self._window = None
            self._decide(busy, speeds)

    def _decide(self, busy: int, speeds: Speeds) -> None:
        if self._before is not None and growth(self._before, (busy, speeds)) < WORTH:
            self._settle(self._before[0])
        elif 2 * busy > MOST_MEASURED:
            self._settle(busy)
        else:
            self._before, self.lanes = (busy, speeds), 2 * busy

    def _settle(self, lanes: int) -> None:
        self.lanes, self.settled = lanes, True
        if self._remembered is not None:
            with suppress(StorageError):  # the disk is full: the next run measures again
                answers = _read(self._remembered) | {self._key: lanes}
                replace_text(self._remembered, json.dumps(answers, indent=1, sort_keys=True) + "\n")

    @property
    def _key(self) -> str:
        return f"{self._family} on {self._hardware}"


def speed(turns: Sequence[tuple[float, int]]) -> float:
    """Returns the images a second of turns of so many seconds and images.

    A turn that took more than twice the median for an image holds a pause, and does not count.
    """
    usual = median(seconds / images for seconds, images in turns)
    steps = [turn for turn in turns if turn[0] <= 2 * usual * turn[1]]
    return sum(images for _, images in steps) / sum(seconds for seconds, _ in steps)


def growth(before: tuple[int, Speeds], after: tuple[int, Speeds]) -> float:
    """Returns the factor by which the sum of speeds grew with the number of lanes.

    It follows from the jobs that were measured both times. If there is none, all jobs count.
    """
    (fewer, old), (more, new) = before, after
    both = old.keys() & new.keys()
    if not both:
        return sum(new.values()) / sum(old.values())
    return sum(new[uid] for uid in both) / sum(old[uid] for uid in both) * more / fewer


def _read(path: Path | None) -> dict[str, int]:
    """Returns the remembered answers. A file that is missing or damaged has none."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {key: lanes for key, lanes in found.items() if isinstance(lanes, int) and 1 <= lanes <= MOST_MEASURED}
    except (OSError, ValueError, AttributeError):
        return {}
