"""Trains several jobs at the same time in one thread: each lane gets its turn, and none waits.

A trainer's iterator gives its device some work and then yields. So one thread keeps many lanes
supplied. On a GPU the lanes' work overlaps; on a CPU the lanes take turns step by step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fer_tune.job import Crowded, EpochRow, Job, JobEnd
from fer_tune.pool.lane_count import LaneCount
from fer_tune.pool.port import Lanes, Measures, Message, Trains

PAUSE = 2e-4
"""Seconds to sleep if all lanes wait for their device. A lane's work lasts some milliseconds."""
HEAD_START = 2.0
"""Seconds that a worker's first jobs train alone with `auto`. Eight lanes that begin together build
eight networks first: a search of deep_cnn passed 58 % of accuracy 3.5 s later than one lane did."""
WHOLE_EPOCH = 5.0
"""Times the head start: so long `auto` waits for the end of an epoch before it measures. Measuring
in the middle of an epoch would count as time of that epoch."""


@dataclass(frozen=True)
class _BusyLane:
    """A job in training."""

    job: Job
    training: Iterator[Message | Crowded | int]


class LaneSet:
    """The lanes of one worker.

    Args:
        trainer: trains the jobs of all lanes.
        head_start: see `HEAD_START`.
    """

    def __init__(self, trainer: Trains, head_start: float = HEAD_START) -> None:
        self._trainer = trainer
        self._head_start = head_start
        self._since: float | None = None  # when the first images were trained
        self._count = LaneCount(1)
        self._busy: dict[int, _BusyLane] = {}
        self._unmeasured: list[str] = []
        """The jobs that wait until the lanes for their family are measured, the oldest first."""
        self._room: dict[int, int] = {}
        """For each job that waited for memory: how many lanes it leaves."""

    @property
    def busy(self) -> bool:
        """Whether a lane has a job."""
        return bool(self._busy)

    @property
    def lanes(self) -> int:
        """How many lanes there are at present. Memory that is short takes some back."""
        count = 1 if self._ahead() else self._count.lanes
        return max(1, min((count, *self._room.values())))

    @property
    def settled(self) -> bool:
        """Whether the number of lanes is known: given, measured or remembered."""
        return self._count.settled

    def use(self, lanes: Lanes, remembered: Path | None) -> None:
        """Sets the number of lanes; see `Pool.use_lanes`."""
        self._count = LaneCount(lanes, getattr(self._trainer, "hardware", None), remembered)

    def start(self, lane: int, job: Job, stop_requested: Callable[[], int]) -> None:
        """Begins to train a job in an idle lane."""
        assert lane not in self._busy, "the lane is not idle"
        measure = self._count.starts(job)
        training = self._measured if measure else self._trainer.train
        self._busy[lane] = _BusyLane(job, training(job, stop_requested))

    def turn(self) -> list[tuple[int, Message]]:
        """Gives each lane one turn. Returns what the jobs said, with their lanes."""
        said: list[tuple[int, Message]] = []
        waiting = True
        for lane, running in list(self._busy.items()):
            message = next(running.training)
            if isinstance(message, int):
                waiting = waiting and not message
                if message and self._since is None:
                    self._since = time.monotonic()
                continue
            waiting = False
            if isinstance(message, Crowded):
                self._room[lane] = len(self._busy) - 1
                continue
            said.append((lane, message))
            if isinstance(message, JobEnd):
                self._end(lane)
        if waiting and self._busy:
            time.sleep(PAUSE)
        return said

    def _measured(self, job: Job, stop_requested: Callable[[], int]) -> Iterator[Message | Crowded | int]:
        """Trains a job. Measures how many lanes its family is worth, after the head start if the
        worker still has it."""
        training, said = self._trainer.train(job, stop_requested), None
        while self._ahead() or (self._ahead(WHOLE_EPOCH) and not isinstance(said, EpochRow | None)):
            said = next(training)
            yield said
            if isinstance(said, JobEnd):
                return
        yield from self._measure(job, stop_requested)
        yield from training

    def _measure(self, job: Job, stop_requested: Callable[[], int]) -> Iterator[int]:
        """Measures how many lanes a job's family is worth, when no lane trains.

        Of several jobs that wait for this, the oldest measures. The others wait for its answer, or
        for their turn if it finds none.
        """

        def waits() -> bool:
            return not (self._count.settled or self._count.knows(job) or stop_requested())

        self._unmeasured.append(job.uid)
        while waits() and (self._unmeasured[0] != job.uid or len(self._busy) > len(self._unmeasured)):
            yield 0
        if waits() and isinstance(self._trainer, Measures):
            with closing(self._trainer.rates(job)) as rates:
                for _ in self._count.measure(job, rates):
                    yield 0
                    if stop_requested():
                        break
        self._unmeasured.remove(job.uid)

    def _ahead(self, times: float = 1.0) -> bool:
        """Returns whether the worker's first jobs have their head start, or so many times it."""
        trained = 0.0 if self._since is None else time.monotonic() - self._since
        return self._count.measures and trained < times * self._head_start

    def _end(self, lane: int) -> None:
        ended = self._busy.pop(lane)
        self._room.pop(lane, None)
        for left in ended.training:  # it lets go of what it holds
            raise AssertionError(f"the trainer said {left} after the end of {ended.job.label}")
