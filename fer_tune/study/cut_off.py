"""The trial that was better than all complete ones when it was paused or pruned.

The end of a run's time cuts trials off, also the best. A ranking has complete trials only, so it
would not show.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from fer_tune.errors import StudyError
from fer_tune.store import Store
from fer_tune.study.summaries import TrialSummary, ranking
from fer_tune.study.summaries import trial as one_trial
from fer_tune.study.trial_states import REASON


@dataclass(frozen=True)
class CutOff:
    """A paused or pruned trial with a higher value than any complete one.

    Attributes:
        study: its name.
        schedule: epochs of a complete trial.
    """

    study: str
    trial: TrialSummary
    schedule: int

    def sentence(self) -> str:
        """Returns what it reached, and what the user can do."""
        one = self.trial
        why = f" ({one.attrs[REASON]})" if one.attrs.get(REASON) else ""
        value = "" if one.value is None else f" at {100 * one.value:.2f} %"
        what = "is paused" if one.state == "paused" else "was pruned"
        also = "The next run continues it, or " if one.state == "paused" else ""
        return (
            f"Trial {one.number} {what}{value}, better than all complete trials, in epoch {one.epochs} of "
            f"{self.schedule}{why}. {also}fer-tune retrain {self.study} --trial {one.number} trains it to the end."
        )


def cut_off(store: Store, study: str, best: float | None) -> CutOff | None:
    """Returns the best paused or pruned trial if it is better than all complete ones, else None.

    Args:
        best: the highest value of a complete trial; None without any. Then nothing is better.

    Raises:
        StudyError: the study does not exist.
    """
    if best is None:
        return None
    found = [*_paused(store, study, best), *ranking(store, study, 1, ["pruned"])]
    better = [(one.value, one) for one in found if one.value is not None and one.value > best]
    if not better:
        return None
    _, trial = max(better, key=lambda pair: pair[0])
    return CutOff(study, trial, int(store.studies.get(study).sweep_json["epochs"]))


def _paused(store: Store, study: str, best: float) -> list[TrialSummary]:
    """Returns the best paused trial, if it is better than `best`. Another program may have deleted
    or ended it."""
    for job in store.jobs.paused_above(study, best):
        with suppress(StudyError):
            assert job.number is not None
            found = one_trial(store, study, job.number)
            if found.state == "paused":
                return [found]
    return []
