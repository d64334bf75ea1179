"""Studies: ask and tell, samplers, pruners, requeueing, and the choice of the best trial.

This room imports Optuna and never torch.
"""

from fer_tune.study.study import Study
from fer_tune.study.summaries import (
    StudySummary,
    TrialSummary,
    last_budget,
    ranking,
    summaries,
    trial,
    trials,
    trials_and_best,
)
from fer_tune.study.trial_states import Counts, Proposal

__all__ = [
    "Counts",
    "Proposal",
    "Study",
    "StudySummary",
    "TrialSummary",
    "last_budget",
    "ranking",
    "summaries",
    "trial",
    "trials",
    "trials_and_best",
]
