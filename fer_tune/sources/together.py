"""Several lists of jobs as one source, so that the jobs of all of them train side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from fer_tune.job import EpochRow, Job
from fer_tune.jobs.outcome import Ended, Reason, StudyOutcome
from fer_tune.jobs.source import Verdict
from fer_tune.sources.job_list import JobList
from fer_tune.study import Counts


class Together:
    """A source of the jobs of several lists, which may belong to several studies.

    It gives a job of each list in turn. Observers hear of one study, the first list's. See
    `JobList` for what the methods do.

    Args:
        lists: at least one.
    """

    pauses = False

    def __init__(self, lists: Sequence[JobList]) -> None:
        self.lists = list(lists)
        self.plan = replace(lists[0].plan, jobs=sum(len(one.jobs) for one in lists))
        self._owner = {job.uid: one for one in lists for job in one.jobs}
        self._turn = 0

    def begin(self, left: Callable[[], float]) -> Counts:
        """Begins each list, and returns the number of complete jobs of all."""
        return Counts(complete=sum(one.begin(left).complete for one in self.lists))

    def hold(self) -> None:
        """Checks that this process still holds the locks of all lists."""
        for one in self.lists:
            one.hold()

    def taken(self) -> Mapping[str, str]:
        """Returns the jobs that another program ended."""
        return {uid: reason for one in self.lists for uid, reason in one.taken().items()}

    def wanted(self) -> bool:
        """Returns whether a list has another job to start."""
        return any(one.wanted() for one in self.lists)

    def most_at_once(self, workers: int) -> float:
        """Returns infinity, as each list does."""
        return math.inf

    def next(self) -> Job:
        """Records and returns the next job of the list whose turn it is."""
        while not self.lists[self._turn].wanted():
            self._turn = (self._turn + 1) % len(self.lists)
        job = self.lists[self._turn].next()
        self._turn = (self._turn + 1) % len(self.lists)
        return job

    def prepare(self, slots: int) -> bool:
        """Does nothing, because the jobs are known."""
        return False

    def record_epoch(self, job: Job, row: EpochRow, value: float) -> None:
        """Has the job's list record what it needs."""
        self._owner[job.uid].record_epoch(job, row, value)

    def judge(self, job: Job, row: EpochRow, value: float, replayed: bool) -> Verdict:
        """Returns the verdict of the job's list."""
        return self._owner[job.uid].judge(job, row, value, replayed)

    def ended(self, job: Job, ended: Ended) -> None:
        """Has the job's list record how the job ended."""
        self._owner[job.uid].ended(job, ended)

    def completed(self) -> int:
        """Returns how many jobs of all lists are complete."""
        return sum(one.completed() for one in self.lists)

    def outcome(self, reason: Reason) -> StudyOutcome:
        """Returns what became of the first list's study."""
        return self.lists[0].outcome(reason)
