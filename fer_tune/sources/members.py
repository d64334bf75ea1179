"""The members of an ensemble, and their choice on stored predictions.

A configuration that is chosen several times is trained under as many seeds. Its networks differ,
so their mean is better than one network that counts as often.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fer_tune.errors import StudyError
from fer_tune.job import Value
from fer_tune.selection.calibration import fit_temperature, softmax
from fer_tune.selection.ensembles import EnsembleChoice, choose
from fer_tune.store import Store, StudyRecord
from fer_tune.study import TrialSummary, ranking
from fer_tune.study.predictions import Predictions

MOST = 1000
"""How many of the best trials of each study an ensemble is chosen from, at most."""


CALIBRATED = 4
"""A candidate's temperature is fitted to every fourth image: for 500 candidates, all take long."""


Key = tuple[str, int, str]
"""Names a configuration: the study, the trial, and the changes to it as JSON."""


@dataclass(frozen=True)
class MemberCandidate:
    """A training whose predictions for validation images are stored.

    Attributes:
        trial: whose configuration it is.
        changes: hyperparameters that replaced the trial's, for a final fit on training images.
        value: its own accuracy, or whatever the study's objective is.
    """

    record: StudyRecord
    trial: TrialSummary
    value: float
    changes: Mapping[str, Value] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Names the configuration. Fits of one configuration under several seeds have one key."""
        return self.record.name, self.trial.number, json.dumps(dict(self.changes), sort_keys=True)


@dataclass(frozen=True)
class Member:
    """A configuration that is part of an ensemble.

    Attributes:
        weight: how often it was chosen, which is the number of its networks; 0 for a single one
            that is only shown beside the ensemble.
        value: its value in the search, the highest one if several of its trainings were chosen.
        changes: hyperparameters that replace the trial's.
    """

    study: str
    trial: int
    weight: int
    value: float
    changes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Chosen:
    """A choice of members.

    Attributes:
        candidates: all trainings that it was chosen from.
        choice: positions among them, and figures on validation.
    """

    candidates: tuple[MemberCandidate, ...]
    choice: EnsembleChoice

    @property
    def networks(self) -> dict[Key, tuple[MemberCandidate, int]]:
        """The configurations that must be trained, each with the number of its networks: those of
        the members, and one of the best single one."""
        found: dict[Key, tuple[MemberCandidate, int]] = {}
        for place, weight in [*self.choice.weights.items(), (self.choice.single, 0)]:
            one = self.candidates[place]
            first, before = found.get(one.key, (one, 0))
            found[one.key] = first, before + weight
        return {key: (one, max(1, weight)) for key, (one, weight) in found.items()}

    @property
    def members(self) -> tuple[Member, ...]:
        """The members, the heaviest first."""
        weights, values = Counter[Key](), dict[Key, float]()
        for place, weight in self.choice.weights.items():
            one = self.candidates[place]
            weights[one.key] += weight
            values[one.key] = max(one.value, values.get(one.key, 0.0))
        of_key = self.networks
        return tuple(_member(of_key[key][0], weight, values[key]) for key, weight in weights.most_common())

    @property
    def single(self) -> Member:
        """The best single configuration."""
        one = self.candidates[self.choice.single]
        return next((some for some in self.members if key_of(some) == one.key), _member(one, 0, one.value))

    def identity(self, epochs: int | None) -> str:
        """Returns an id that is the same for the same members, best single one and schedule.

        The single one is named apart, because it has a network even if it is not a member.
        """
        uids = {key: one.record.uid for key, (one, _) in self.networks.items()}
        members = sorted([uids[key_of(one)], *key_of(one), one.weight] for one in self.members)
        single = [uids[key_of(self.single)], *key_of(self.single)]
        return hashlib.sha256(json.dumps([members, single, epochs]).encode()).hexdigest()[:12]


def key_of(member: Member) -> Key:
    """Returns what names a member's configuration."""
    return member.study, member.trial, json.dumps(dict(member.changes), sort_keys=True)


def _member(one: MemberCandidate, weight: int, value: float) -> Member:
    return Member(one.record.name, one.trial.number, weight, value, dict(one.changes))


def choose_members(store: Store, studies: Sequence[str], size: int) -> Chosen:
    """Chooses an ensemble from all complete trainings that have stored predictions.

    These are trials of the search, and final fits on training images (`--on train`). The
    probabilities of each are calibrated by a temperature first.

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
        for uid, candidate in _trainings(store, record):
            logits = predictions.logits(uid)
            if logits is None or predictions.labels is None:
                continue
            labels = predictions.labels
            candidates.append(candidate)
            temperature = fit_temperature(logits[::CALIBRATED], labels[::CALIBRATED])
            probabilities.append(softmax(logits, temperature).astype("float32"))
    if labels is None:
        raise StudyError(
            f"{', '.join(studies)}: no complete trial has stored predictions.",
            "Run a sweep for longer first. Its images must still be in the cache.",
        )
    return Chosen(tuple(candidates), choose(probabilities, labels, size))


def _trainings(store: Store, record: StudyRecord) -> Iterator[tuple[str, MemberCandidate]]:
    """Yields the complete trainings of a study that saw no validation image, with their uids."""
    complete = {trial.number: trial for trial in ranking(store, record.name, MOST)}
    for trial in complete.values():
        if trial.job:
            yield trial.job, MemberCandidate(record, trial, trial.value or 0.0)
    for job in store.jobs.of(record.name, "final"):
        if job.state == "complete" and job.fit == "train" and (number := job.origin.get("trial")) in complete:
            changes = dict(job.origin.get("changes", {}))
            yield job.uid, MemberCandidate(record, complete[number], job.value or 0.0, changes)
