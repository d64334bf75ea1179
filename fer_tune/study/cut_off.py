"""The trial that was better than all complete ones when it was pruned.

The end of a run's time cuts trials off, also the best. A ranking has complete trials only, so it
would not show.
"""

from __future__ import annotations

from dataclasses import dataclass

from fer_tune.store import Store
from fer_tune.study.summaries import TrialSummary, ranking
from fer_tune.study.trial_states import REASON


@dataclass(frozen=True)
class CutOff:
    """A pruned trial with a higher value than any complete one.

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
        return (
            f"Trial {one.number} was pruned{value}, better than all complete trials, in epoch {one.epochs} of "
            f"{self.schedule}{why}. fer-tune retrain {self.study} --trial {one.number} trains it to the end."
        )


def cut_off(store: Store, study: str, best: float | None) -> CutOff | None:
    """Returns the best pruned trial if it is better than all complete ones, else None.

    Args:
        best: the highest value of a complete trial; None without any. Then nothing is better.

    Raises:
        StudyError: the study does not exist.
    """
    pruned = None if best is None else next(iter(ranking(store, study, 1, ["pruned"])), None)
    if best is None or pruned is None or pruned.value is None or pruned.value <= best:
        return None
    return CutOff(study, pruned, int(store.studies.get(study).sweep_json["epochs"]))
