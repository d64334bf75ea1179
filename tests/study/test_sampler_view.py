"""Tests that trials which do not fit into memory fail, and that samplers then avoid such trials."""

import warnings

import pytest
from optuna.trial import TrialState

from fer_tune.store import Store
from fer_tune.study import Study, ranking, trials
from fer_tune.study.sampler_view import with_infeasible

from .conftest import MakeSweep, faces, reopen

SPACE = (
    "params={width: {low: 8, high: 128}, batch_size: {low: 32, high: 256}, lr: {low: 1e-4, high: 1e-2, log: true}}",
    "start=[]",
    "budget={trials: 100, epochs: 9}",
)
ROOM = 10_000.0
"""The largest product of width and batch size that fits. Half of the space does not fit."""


def need(params: dict[str, object]) -> float:
    """Returns the fraction by which a trial needs more memory than there is."""
    return int(params["width"]) * int(params["batch_size"]) / ROOM - 1  # type: ignore[call-overload]


def search(study: Study, count: int, learn: bool = True) -> list[bool]:
    """Asks and tells trials that are better the wider they are. Returns which ones did not fit."""
    too_large = []
    for _ in range(count):
        proposal = study.ask()
        excess = need(proposal.params)
        too_large.append(excess > 0)
        if excess > 0:
            study.fail(proposal.number, "does not fit", infeasible=excess if learn else 0.0)
        else:
            value = int(proposal.params["width"]) / 1000
            study.report(proposal.number, 1, value)
            study.complete(proposal.number, value)
    return too_large


@pytest.mark.parametrize(
    ("sampler", "drawn", "counted"),
    [("tpe", 35, 20), pytest.param("{name: gp, n_startup_trials: 6}", 12, 6, marks=pytest.mark.slow)],
)
def test_samplers_avoid_what_did_not_fit(
    sweep: MakeSweep, store: Store, sampler: str, drawn: int, counted: int
) -> None:
    """Compares with a search in which samplers do not see the constraint. That search keeps
    proposing trials that do not fit."""
    found = {}
    for learn in (True, False):
        study = Study.open(sweep(f"sampler={sampler}", f"study=learn-{learn}", *SPACE), store, faces(store))
        found[learn] = sum(search(study, drawn, learn)[-counted:])
    assert found[True] <= 0.6 * found[False], found


def test_the_gaussian_process_takes_them_beside_trials_without_a_constraint(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep("sampler={name: gp, n_startup_trials: 5}", *SPACE), store, faces(store))
    too_large = search(study, 6)
    assert 0 < sum(too_large[:5]) < 5, "the first draws should include trials that fit and trials that do not"


def test_cmaes_takes_them_for_the_worst_and_warns_of_nothing(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep("sampler=cmaes", *SPACE), store, faces(store))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        too_large = search(study, 12)
    assert 0 < sum(too_large) < 12
    before = study._all()
    seen = with_infeasible(before)
    worst = min(trial.value for trial in before if trial.value is not None)
    for failed, trial, shown in zip(too_large, before, seen, strict=True):
        assert shown.state == TrialState.COMPLETE
        assert shown.value == (worst if failed else trial.value)
        assert (shown.constraints["memory"] > 0) == failed
        assert trial.state == (TrialState.FAIL if failed else TrialState.COMPLETE), "the study itself changed"


def test_the_database_says_failed_and_by_how_much(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep("sampler=tpe", *SPACE), store, faces(store))
    number = study.ask().number
    study.fail(number, "does not fit", infeasible=0.25)
    study.fail(number, "again", infeasible=0.5)  # the trial has ended, so this changes nothing
    again, other = reopen(sweep("sampler=tpe", *SPACE), store)
    (trial,) = again._all()
    assert (trial.state, trial.constraints) == (TrialState.FAIL, {"memory": 0.25})
    (summary,) = trials(other, study.name)
    assert (summary.state, summary.attrs["memory"], summary.attrs["reason"]) == ("failed", 0.25, "does not fit")
    assert again.counts().finished == 1
    assert ranking(other, study.name) == []
    other.close()


def test_other_failures_stay_out_of_sight(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep("sampler=tpe", *SPACE), store, faces(store))
    study.fail(study.ask().number, "a cosmic ray")
    search(study, 4, learn=False)
    every = study._all()
    assert with_infeasible(every) is every
