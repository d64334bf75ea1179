"""The standings of a study: its best trials, how sure their order is, and the one to choose.

A value of the search is the best of many noisy ones, so it flatters its trial. Where there are
confirmations, the trials are ranked by their means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from fer_tune.selection.overtuning import Meter, meter
from fer_tune.selection.paired import compare
from fer_tune.selection.race import ALPHA, Place, Race
from fer_tune.selection.statistics import error_of_difference, mean, standard_error, two_sided
from fer_tune.store import Store, StudyRecord
from fer_tune.study.confirmations import ConfirmationReader, Confirmations
from fer_tune.study.cut_off import CutOff, cut_off
from fer_tune.study.predictions import Predictions
from fer_tune.study.summaries import TrialSummary, ranking
from fer_tune.study.summaries import trial as find_trial
from fer_tune.study.usual_fits import OnTest, on_test

Rule = Literal["max", "one_se"]
"""`max` chooses the leader. `one_se` chooses the cheapest trial that is not clearly worse: within
one standard error of the leader."""

RULES: tuple[Rule, ...] = get_args(Rule)

COMPARED = 50
"""How many of the best trials are compared with the leader, at least. More cost time."""


@dataclass(frozen=True)
class Standing:
    """A trial, and how it compares with the leader.

    Attributes:
        error: standard error of the search's value, over images; None if unknown.
        behind: how far it is behind the leader: in the confirmed means if both are confirmed, else
            in the search's values.
        behind_error: standard error of that difference; None if unknown.
        p: probability of such a difference between equal trials; None if unknown. It is that of one
            look, while a race of confirmed trials has several.
        paired: whether the two were compared image by image.
        confirmed: its place among the confirmed trials, or None.
    """

    trial: TrialSummary
    error: float | None
    behind: float
    behind_error: float | None
    p: float | None
    paired: bool
    confirmed: Place | None = None

    @property
    def tied(self) -> bool:
        """Whether the trial cannot be told from the leader. The race decides for confirmed ones."""
        if self.confirmed is not None:
            return self.confirmed.behind_after is None
        return self.p is None or self.p >= ALPHA

    @property
    def within_one_error(self) -> bool:
        """Whether the trial is at most one standard error behind the leader."""
        return self.behind <= (self.behind_error or 0.0)

    @property
    def cost(self) -> tuple[float, float]:
        """What the trial's network costs: parameters first, then seconds for an image."""
        speed = self.trial.attrs.get("images_per_second")
        parameters = self.trial.attrs.get("parameters")
        return (math.inf if not parameters else float(parameters), 1 / speed if speed else math.inf)


@dataclass(frozen=True)
class Standings:
    """The best trials of a study.

    Attributes:
        ranked: the best first: confirmed ones, then the others by value.
        confirmations: what the confirmations say, or None without any.
        rule: how `chosen` was chosen.
        cut_off: a paused or pruned trial that was better than all complete ones, or None.
        in_cache: whether the validation images are there. Without them, trials are compared by
            their values alone.
    """

    study: str
    objective: str
    ranked: tuple[Standing, ...]
    confirmations: Confirmations | None
    rule: Rule
    cut_off: CutOff | None
    in_cache: bool = True

    @property
    def ties(self) -> tuple[Standing, ...]:
        """The trials that cannot be told from the leader, which is one of them."""
        confirmed = [one for one in self.ranked if one.confirmed is not None]
        return tuple(one for one in confirmed or self.ranked if one.tied)

    @property
    def chosen(self) -> Standing | None:
        """The trial to use, by the rule; None if no trial is complete."""
        if self.rule == "max" or not self.ranked:
            return next(iter(self.ranked), None)
        leader = self.ranked[0]
        near = [
            one for one in self.ranked if one.within_one_error and (one.confirmed is None) == (leader.confirmed is None)
        ]
        return min(near, key=lambda one: (one.cost, self.ranked.index(one)))

    def listed(self, top: int) -> list[Standing]:
        """Returns the first trials, with the chosen one in front."""
        rest = [one for one in self.ranked if one is not self.chosen]
        return ([self.chosen] if self.chosen else []) + rest[: top - 1]

    @property
    def optimism(self) -> float | None:
        """How much higher the search's own figures are than the confirmed means.

        It is a mean over the confirmed trials. None without any.
        """
        gaps = [
            one.trial.value - one.confirmed.mean for one in self.ranked if one.confirmed and one.trial.value is not None
        ]
        return mean(gaps) if gaps else None


def standings(store: Store, study: str, top: int = COMPARED, rule: Rule = "max") -> Standings:
    """Returns the standings of a study, of its `top` best trials at least.

    Raises:
        StudyError: the study does not exist.
    """
    record = store.studies.get(study)
    reader = ConfirmationReader(store, record)
    confirmations = reader.read()
    places = {place.candidate: place for place in confirmations.race.places} if confirmations else {}
    known = {trial.number: trial for trial in ranking(store, study, max(top, COMPARED) + len(places))}
    best = next((trial.value for trial in known.values()), None)
    first = [known.get(number) or find_trial(store, study, number) for number in places]
    others = [trial for number, trial in known.items() if number not in places][: max(top, COMPARED)]
    ranked = [*_confirmed(first, places, record.objective, reader.predictions)]
    ranked += beside_leader(others, record, reader.predictions)
    there = reader.predictions.labels is not None
    return Standings(study, record.objective, tuple(ranked), confirmations, rule, cut_off(store, study, best), there)


def best(store: Store, study: str, top: int = 1) -> list[TrialSummary]:
    """Returns the best complete trials, the best first: confirmed ones, then the others by value.

    Raises:
        StudyError: the study does not exist.
    """
    if store.jobs.of(study, "confirm"):
        return [one.trial for one in standings(store, study, top).ranked[:top]]
    return ranking(store, study, top)


def overtuning(store: Store, study: str, number: int, test: OnTest | None = None) -> Meter | None:
    """Returns a trial's figures of the search, of its confirmations and of test, side by side.

    Args:
        test: what its final fits reached on test. None reads those of its usual final fits.

    Returns:
        None if the trial is not complete, or if the objective is not the accuracy.

    Raises:
        StudyError: the study or the trial does not exist.
    """
    record, found = store.studies.get(study), find_trial(store, study, number)
    if found.value is None or found.state != "complete" or record.objective != "val_accuracy":
        return None
    confirmations = ConfirmationReader(store, record).read()
    race = confirmations.race if confirmations else Race((), (), 0, None)
    place = next((place for place in race.places if place.candidate == number), None)
    values, interval = (place.values, place.interval) if place else ((), None)
    tested = on_test(store, record, number) if test is None else test
    of_val, of_test = (record.split.counts.get(part, 0) for part in ("val", "test"))
    read = meter(found.value, values, tested.accuracies, of_val, of_test, of_confirmed=interval, spread=race.spread)
    return replace(read, openings=tested.openings)


def _confirmed(
    trials: Sequence[TrialSummary], places: dict[int, Place], objective: str, predictions: Predictions
) -> list[Standing]:
    found = []
    for trial in trials:
        place = places[trial.number]
        error = _error(trial, objective, predictions)
        found.append(Standing(trial, error, place.gap, place.gap_error, place.p, place.paired, place))
    return found


def beside_leader(trials: Sequence[TrialSummary], study: StudyRecord, predictions: Predictions) -> list[Standing]:
    """Compares trials by what the search measured, each with the first."""
    if not trials:
        return []
    leader, *others = trials
    objective, over_epochs = study.objective, study.sweep_json.get("objective_of") == "mean_last"
    reference = predictions.contributions(leader.job) if leader.job else None
    found = [Standing(leader, _error(leader, objective, predictions), 0.0, 0.0, 1.0, paired=reference is not None)]
    for trial in others:
        error, behind = _error(trial, objective, predictions), (leader.value or 0.0) - (trial.value or 0.0)
        mine = predictions.contributions(trial.job) if trial.job and reference is not None else None
        if mine is None or reference is None:
            gap_error = error_of_difference(found[0].error, error)
            p = two_sided(behind / gap_error) if gap_error else None
            found.append(Standing(trial, error, behind, gap_error, p, paired=False))
        else:
            paired = compare(reference, mine, behind if over_epochs else None)
            found.append(Standing(trial, error, behind, paired.error, paired.p, paired=True))
    return found


def _error(trial: TrialSummary, objective: str, predictions: Predictions) -> float | None:
    """Returns the standard error of a trial's value: from its predictions, else as of a share."""
    if objective == "val_accuracy":
        return standard_error(trial.value, predictions.images)
    some = predictions.contributions(trial.job) if trial.job else None
    return None if some is None else float(some.std(ddof=1) / math.sqrt(len(some)))
