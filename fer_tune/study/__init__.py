"""Studies: ask and tell, samplers, pruners, requeueing, and the choice of the best trial.

This room imports Optuna and never torch. Readers need no Optuna, so `Study` is imported on first
use.
"""

from typing import TYPE_CHECKING, Any

from fer_tune.study.summaries import (
    StudySummary,
    TrialSummary,
    counts,
    last_budget,
    ranking,
    summaries,
    trial,
    trials,
)
from fer_tune.study.trial_states import Counts, Proposal

if TYPE_CHECKING:
    from fer_tune.study.study import Study

__all__ = [
    "Counts",
    "Proposal",
    "Study",
    "StudySummary",
    "TrialSummary",
    "counts",
    "last_budget",
    "ranking",
    "summaries",
    "trial",
    "trials",
]


def __getattr__(name: str) -> Any:
    """Returns `Study`, and imports Optuna for it."""
    if name == "Study":
        from fer_tune.study.study import Study

        return Study
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
