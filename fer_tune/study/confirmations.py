"""The confirmations of a study: good trials that were trained again under new seeds."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fer_tune.selection.race import Race, SeedResult, difference, pooled, race
from fer_tune.store import JobRecord, Store, StudyRecord
from fer_tune.study.predictions import Predictions

SEEDS = 2**31
"""Distance of the seeds of confirmations from the study's seed. No trial of a search has them."""


def seed_of(study: StudyRecord, place: int) -> int:
    """Returns the seed of the confirmations in one round, which counts from 0."""
    return int((int(study.sweep_json["seed"]) + SEEDS + place) % 2**32)


@dataclass(frozen=True)
class Confirmations:
    """What the confirmations of a study say, at one moment.

    Attributes:
        race: of the trials, by number. A trial that failed under a seed is not in it.
        failed: why, by number of the trial.
        seeds: how many seeds each trial gets at most.
        trainings: number of confirmations that were started.
    """

    race: Race
    failed: dict[int, str]
    seeds: int
    trainings: int

    @property
    def trials(self) -> tuple[int, ...]:
        """The numbers of the trials that have a confirmation, the best first."""
        return tuple(place.candidate for place in self.race.places)

    @property
    def saved(self) -> int:
        """How many trainings racing made unnecessary so far."""
        behind = sum(self.seeds - len(place.values) for place in self.race.places if place.behind_after is not None)
        won = [place for place in self.race.places if place.candidate == self.race.winner]
        return behind + sum(self.seeds - len(place.values) for place in won)


class ConfirmationReader:
    """Reads the confirmations of a study. It reads each file once.

    Args:
        study: whose confirmations they are.

    Attributes:
        predictions: of the study's jobs.
    """

    def __init__(self, store: Store, study: StudyRecord) -> None:
        self.store, self._study = store, study
        self.predictions = Predictions(store, study)
        self._runs: dict[str, SeedResult] = {}

    def jobs(self) -> list[JobRecord]:
        """Returns the jobs, the oldest first."""
        return self.store.jobs.of(self._study.name, "confirm")

    def read(self, candidates: Collection[int] = (), seeds: int = 0) -> Confirmations | None:
        """Returns what the confirmations say, or None if there are none and none is asked for.

        Args:
            candidates: trials that will be confirmed, beside those that have a confirmation.
            seeds: for each trial, at least; earlier requests may have asked for more.
        """
        jobs = self.jobs()
        if not jobs and not candidates:
            return None
        seeds = max([seeds, *(int(job.origin["seeds"]) for job in jobs)])
        by_trial = _by_trial(jobs, candidates)
        failed = {number: why for number, some in by_trial.items() if (why := _failure(some))}
        runs = {number: self._of(some) for number, some in by_trial.items() if number not in failed}
        images = self.predictions.images or 1
        return Confirmations(race(runs, seeds, images), failed, seeds, len(jobs))

    def difference(self, trial: int, other: int) -> tuple[float, float, float]:
        """Returns the difference of two trials' confirmed means, its standard error, and the
        p-value of no difference; see `race.difference`."""
        runs = {number: self._of(jobs) for number, jobs in _by_trial(self.jobs()).items()}
        images = self.predictions.images or 1
        return difference(runs[trial], runs[other], pooled(runs.values(), images), images)

    def _of(self, jobs: list[JobRecord]) -> list[SeedResult]:
        """Returns a trial's runs by seed, up to the first that is missing."""
        by_round = {int(job.origin["round"]): job for job in jobs if job.state == "complete" and job.value is not None}
        found = []
        for place in range(len(by_round)):
            if place not in by_round:
                break
            job = by_round[place]
            if job.uid not in self._runs:
                self._runs[job.uid] = self.predictions.run(job)
            found.append(self._runs[job.uid])
        return found


def _by_trial(jobs: Iterable[JobRecord], candidates: Iterable[int] = ()) -> dict[int, list[JobRecord]]:
    """Returns the jobs of each trial, by its number. Candidates come first, also without any."""
    found = {number: list[JobRecord]() for number in candidates}
    for job in jobs:
        found.setdefault(int(job.origin["trial"]), []).append(job)
    return found


def _failure(jobs: list[JobRecord]) -> str:
    """Returns why a trial cannot be confirmed, or nothing: it failed or diverged under a seed."""
    return next((f"seed {job.seed}: {job.reason}" for job in jobs if job.state in ("failed", "pruned")), "")
