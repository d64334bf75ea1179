"""The trial that was better than all complete ones when it was paused or pruned.

The end of a run's time cuts trials off, also the best. A ranking has complete trials only, so it
would not show.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from fer_tune.errors import StudyError
from fer_tune.job import OUT_OF_TIME
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
        continues: whether the next run continues it for sure, because it was cut off.
    """

    study: str
    trial: TrialSummary
    schedule: int
    continues: bool = False

    def sentence(self) -> str:
        """Returns what it reached, and what the user can do."""
        one = self.trial
        why = f" ({one.attrs[REASON]})" if one.attrs.get(REASON) else ""
        value = "" if one.value is None else f" at {100 * one.value:.2f} %"
        what = "is paused" if one.state == "paused" else "was pruned"
        then = ""
        if self.continues:
            then = "The next run continues it. "
        elif one.state == "paused":
            then = "A run continues it when it is among the best of its rung. "
        return (
            f"Trial {one.number} {what}{value}, better than all complete trials, in epoch {one.epochs} of "
            f"{self.schedule}{why}. {then}fer-tune retrain {self.study} --trial {one.number} trains it to the end."
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
    schedule = int(store.studies.get(study).sweep_json["epochs"])
    pruned = [CutOff(study, one, schedule) for one in ranking(store, study, 1, ["pruned"])]
    better = [one for one in [*_paused(store, study, best, schedule), *pruned] if (one.trial.value or 0.0) > best]
    return max(better, key=lambda one: one.trial.value or 0.0, default=None)


def _paused(store: Store, study: str, best: float, schedule: int) -> list[CutOff]:
    """Returns the best paused trial, if it is better than `best`. Another program may have deleted
    or ended it."""
    for job in store.jobs.paused_above(study, best):
        with suppress(StudyError):
            assert job.number is not None
            found = one_trial(store, study, job.number)
            if found.state == "paused":
                return [CutOff(study, found, schedule, continues=job.reason == OUT_OF_TIME)]
    return []
