"""The members of an ensemble: their choice on stored predictions, and the source of their fits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from fer_tune.errors import StudyError
from fer_tune.jobs.outcome import Plan
from fer_tune.selection.calibration import fit_temperature, softmax
from fer_tune.selection.ensembles import EnsembleChoice, choose
from fer_tune.settings import Settings
from fer_tune.sources.final_job import final_job, last_epoch
from fer_tune.sources.job_list import JobList
from fer_tune.store import Store, StudyLock, StudyRecord, final_lock
from fer_tune.study import TrialSummary, ranking
from fer_tune.study.predictions import Predictions

MOST = 1000
"""How many of the best trials of each study an ensemble is chosen from, at most."""


CALIBRATED = 4
"""A candidate's temperature is fitted to every fourth image: for 500 candidates, all take long."""


@dataclass(frozen=True)
class MemberCandidate:
    """A trial that may be a member."""

    record: StudyRecord
    trial: TrialSummary

    @property
    def key(self) -> tuple[str, int]:
        """The names of study and trial."""
        return self.record.name, self.trial.number


@dataclass(frozen=True)
class Member:
    """A trial that is part of an ensemble.

    Attributes:
        weight: how often it was chosen; 0 for a single trial that is only shown beside it.
        value: its value in the search.
    """

    study: str
    trial: int
    weight: int
    value: float


@dataclass(frozen=True)
class Chosen:
    """A choice of members.

    Attributes:
        candidates: all trials that it was chosen from.
        choice: positions among them, and figures on validation.
    """

    candidates: tuple[MemberCandidate, ...]
    choice: EnsembleChoice

    @property
    def trained(self) -> tuple[MemberCandidate, ...]:
        """The trials that must be trained: the members, and the best single one."""
        return tuple(self.candidates[place] for place in dict.fromkeys([*self.choice.weights, self.choice.single]))

    @property
    def members(self) -> tuple[Member, ...]:
        """The members, the heaviest first."""
        return tuple(self._member(place) for place in self.choice.weights)

    @property
    def single(self) -> Member:
        """The best single trial."""
        return self._member(self.choice.single)

    def _member(self, place: int) -> Member:
        one = self.candidates[place]
        return Member(one.record.name, one.trial.number, self.choice.weights.get(place, 0), one.trial.value or 0.0)

    def identity(self, epochs: int | None) -> str:
        """Returns an id that is the same for the same members and the same schedule."""
        parts = [[one.record.uid, one.trial.number] for one in self.trained]
        weights = list(self.choice.weights.values())
        return hashlib.sha256(json.dumps([parts, weights, epochs]).encode()).hexdigest()[:12]


def choose_members(store: Store, studies: Sequence[str], size: int) -> Chosen:
    """Chooses an ensemble from all complete trials that have stored predictions.

    The probabilities of each trial are calibrated by a temperature first.

    Raises:
        StudyError: a study does not exist, has another split, or has no stored predictions.
    """
    candidates, probabilities, labels, split = [], [], None, ""
    for name in dict.fromkeys(studies):
        record = store.studies.get(name)
        split = split or record.split.hash
        if record.split.hash != split:
            raise StudyError(
                f"The studies {studies[0]} and {name} have different splits.",
                "An ensemble needs the same validation images for all its trials. Name studies with one split.",
            )
        predictions = Predictions(store, record)
        for trial in ranking(store, name, MOST):
            logits = predictions.logits(trial.job) if trial.job else None
            if logits is None or predictions.labels is None:
                continue
            labels = predictions.labels
            candidates.append(MemberCandidate(record, trial))
            temperature = fit_temperature(logits[::CALIBRATED], labels[::CALIBRATED])
            probabilities.append(softmax(logits, temperature).astype("float32"))
    if labels is None:
        raise StudyError(
            f"{', '.join(studies)}: no complete trial has stored predictions.",
            "Run a sweep for longer first. Its images must still be in the cache.",
        )
    return Chosen(tuple(candidates), choose(probabilities, labels, size))


class MemberFits(JobList):
    """The source of the final fits of those members that one study has.

    Args:
        id: of the ensemble. The same ensemble continues its fits.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        record: StudyRecord,
        trials: Sequence[TrialSummary],
        *,
        id: str,
        epochs: int | None,
        lock: StudyLock,
        mirrored: bool,
    ) -> None:
        self.record = record
        schedule, seed = epochs or int(record.sweep_json["epochs"]), int(record.sweep_json["seed"])
        self._by_uid: dict[str, int] = {}
        jobs = []
        for trial in trials:
            until = last_epoch(store, record, trial, schedule)
            job = final_job(store, settings, record, trial, batch=id, schedule=schedule, until=until, seed=seed)
            jobs.append(job)
            self._by_uid[job.uid] = trial.number
        plan = Plan(
            study=record.name,
            kind="final",
            family=record.family,
            data=record.data_source,
            objective="train_accuracy",
            jobs=len(jobs),
            epochs=schedule,
            budget={"members": len(jobs), "epochs": schedule},
        )
        origin = {"until": "best", "changes": {}, "batch": id, "seeds": len(jobs), "trial": trials[0].number}
        super().__init__(store, plan, jobs, lock=lock, origin=origin, mirrored=mirrored)

    def origin_of(self, uid: str) -> dict[str, object]:
        """Returns what is recorded with a job: its own trial."""
        return {**self._origin, "trial": self._by_uid[uid]}

    @classmethod
    def of(
        cls,
        store: Store,
        settings: Settings,
        chosen: Chosen,
        *,
        epochs: int | None,
        mirrored: bool,
        held: ExitStack,
    ) -> list[MemberFits]:
        """Returns a source for each study that has a member, and locks its fits.

        Args:
            held: releases the locks.
        """
        id, by_study = chosen.identity(epochs), dict[str, list[MemberCandidate]]()
        for one in chosen.trained:
            by_study.setdefault(one.record.name, []).append(one)
        found = []
        for name, some in by_study.items():
            lock = store.patiently(StudyLock(settings, settings.url, final_lock(name, id)).acquire)
            held.callback(lock.release)
            trials = [one.trial for one in some]
            found.append(
                cls(store, settings, some[0].record, trials, id=id, epochs=epochs, lock=lock, mirrored=mirrored)
            )
        return found
