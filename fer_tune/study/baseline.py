"""What a search gained over the configurations that the user gave it in `start:`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fer_tune.selection.race import ALPHA
from fer_tune.store import Store
from fer_tune.study.confirmations import ConfirmationReader, Confirmations
from fer_tune.study.standings import beside_leader
from fer_tune.study.summaries import TrialSummary, best_start, counts, has_start, ranking
from fer_tune.study.summaries import trial as find_trial
from fer_tune.study.trial_states import State

PRUNED: tuple[State, ...] = ("pruned",)
"""The state of a start configuration that the search stopped."""


@dataclass(frozen=True)
class Gain:
    """A trial beside the best complete trial that came from `start:`.

    Attributes:
        trial: number of the trial.
        start: the trial from `start:`, which may be the same.
        gained: how much higher the trial's value is.
        error: standard error of that; None if unknown.
        p: probability that the best of equal trials is so far ahead; None if unknown. It is that
            of one comparison, times the number of complete trials if the search's values are
            compared.
        by_search: whether the trial is confirmed, and the gain still that of the search's values,
            because the start is not.
        confirmed: whether both are, and the gain is that under their new seeds.
        decided: whether the race of the confirmations tells the two apart. None if it does not
            compare them, and p decides.
    """

    trial: int
    start: TrialSummary
    gained: float
    error: float | None
    p: float | None
    by_search: bool = False
    confirmed: bool = False
    decided: bool | None = None

    @property
    def is_start(self) -> bool:
        """Whether the trial itself came from `start:`, so that the search found nothing better."""
        return self.trial == self.start.number

    @property
    def tied(self) -> bool:
        """Whether chance explains the difference."""
        return not self.decided if self.decided is not None else self.p is None or self.p >= ALPHA

    def sentence(self) -> str:
        """Returns the gain in words, in points of a hundred."""
        name = f"start {self.start.name!r}" if self.start.name else "start"
        if self.is_start:
            return f"{name} itself; no drawn trial is better"
        error = "" if self.error is None else f", standard error {100 * self.error:.1f}"
        source = ", by the search's own figures" if self.by_search else ", under new seeds" if self.confirmed else ""
        verdict = "a tie" if self.tied else "better" if self.gained > 0 else "worse"
        return f"{100 * self.gained:+.1f} over {name} (trial {self.start.number}){error}{source}: {verdict}"


def beside_start(store: Store, study: str, gained: Gain | None) -> str:
    """Returns the gain in words, or why there is none. It is empty for a study without `start:`."""
    if gained is not None:
        return gained.sentence()
    if not has_start(store, study):
        return ""
    return f"no start configuration was trained to its end{_where_it_stopped(store, study)}"


def _where_it_stopped(store: Store, study: str) -> str:
    """Returns how the best trial compares with the best pruned start, in its last epoch."""
    start, best = best_start(store, study, PRUNED), next(iter(ranking(store, study)), None)
    rows = store.epochs.curve(study, best.job) if best is not None and best.job else []
    objective = store.studies.get(study).objective
    there = next((getattr(row, objective) for row in rows if start is not None and row.epoch == start.epochs), None)
    if start is None or best is None or start.value is None or there is None:
        return ", so there is no baseline"
    name = f"start {start.name!r}" if start.name else "start"
    stopped = f"{name} (trial {start.number}) was stopped in epoch {start.epochs} at {100 * start.value:.2f} %"
    return f"; {stopped}, where trial {best.number} had {100 * there:.2f} %"


def gain(store: Store, study: str, number: int | None = None) -> Gain | None:
    """Returns what a trial gained over the best complete `start:` configuration.

    Args:
        number: the trial. None is the study's best.

    Returns:
        None if no trial from `start:` is complete, or the trial is not.

    Raises:
        StudyError: the study or the trial does not exist.
    """
    record = store.studies.get(study)
    start = best_start(store, study)
    chosen = next(iter(ranking(store, study)), None) if number is None else find_trial(store, study, number)
    if start is None or chosen is None or chosen.state != "complete" or chosen.value is None:
        return None
    reader = ConfirmationReader(store, record)
    confirmations = reader.read()
    known = () if confirmations is None else confirmations.trials
    by_search = chosen.number in known
    if start.number == chosen.number:
        return Gain(chosen.number, start, 0.0, 0.0, 1.0, by_search)
    if by_search and start.number in known:
        gained, error, equal = reader.difference(chosen.number, start.number)
        decided = _decided(confirmations, chosen.number, start.number)
        known_error = None if math.isnan(error) else error
        return Gain(chosen.number, start, gained, known_error, equal, confirmed=True, decided=decided)
    beside = beside_leader([chosen, start], record, reader.predictions)[1]
    p = None if beside.p is None else min(1.0, beside.p * counts(store, study).complete)
    return Gain(chosen.number, start, beside.behind, beside.behind_error, p, by_search)


def _decided(confirmations: Confirmations | None, one: int, other: int) -> bool | None:
    """Returns whether a race tells its leader from another trial. None if neither is its leader."""
    places = confirmations.race.places if confirmations else ()
    if not places or places[0].candidate not in (one, other):
        return None
    return next(place.behind_after is not None for place in places[1:] if place.candidate in (one, other))
