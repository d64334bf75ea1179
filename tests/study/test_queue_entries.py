"""Tests of what other programs enqueue: names of hyperparameters, keys, and names without a use."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from fer_tune.store import Store
from fer_tune.study import Proposal, Study, trials

from .conftest import MakeSweep, faces, reopen

SGD, ADAMW = {"optimizer": "sgd", "lr": 0.05}, {"optimizer": "adamw", "lr": 0.001}


def enqueue(store: Store, *entries: dict[str, Any]) -> None:
    """Enqueues trials as another program does."""
    other = optuna.load_study(study_name="tiny", storage=RDBStorage(store.url))
    for entry in entries:
        other.enqueue_trial(entry)


def asked(sweep: MakeSweep, store: Store, *entries: dict[str, Any]) -> tuple[Study, list[Proposal]]:
    """Returns a study without start configurations, and the first of its trials."""
    study = Study.open(sweep("start=[]"), store, faces(store))
    enqueue(store, *entries)
    return study, [study.ask() for _ in entries]


def has(params: dict[str, Any], entry: dict[str, Any]) -> bool:
    return all(params[name] == value for name, value in entry.items())


@pytest.mark.parametrize("sampler", ["random", "tpe", "effects"])
def test_a_value_goes_to_the_alternative_whose_condition_holds(sweep: MakeSweep, store: Store, sampler: str) -> None:
    def with_sampler(*changes: str) -> Any:
        return sweep(f"sampler={sampler}", *changes)

    _, proposals = asked(with_sampler, store, SGD, ADAMW, {"optimizer": "adamw", "lr": 0.004, "ema": 0.9})
    assert has(proposals[0].params, SGD)
    assert has(proposals[1].params, ADAMW)
    assert has(proposals[2].params, {"lr": 0.004})
    recorded = optuna.load_study(study_name="tiny", storage=RDBStorage(store.url)).trials
    assert [one.params.get("lr[optimizer=sgd]") for one in recorded] == [0.05, None, None]


def test_optunas_own_parameters_can_be_enqueued_again(sweep: MakeSweep, store: Store) -> None:
    study, [first] = asked(sweep, store, SGD)
    study.complete(first.number, 0.5)
    enqueue(store, study._study.best_params)
    assert study.ask().params == first.params


def test_a_condition_may_be_left_to_the_sampler(sweep: MakeSweep, store: Store) -> None:
    """Both optimizers can have this lr, whichever is drawn."""

    def wide(*changes: str) -> Any:
        return sweep(
            "params.lr=[{low: 0.001, high: 0.3, when: {optimizer: [sgd]}}, "
            "{low: 0.0001, high: 0.1, when: {optimizer: [adamw]}}]",
            *changes,
        )

    _, proposals = asked(wide, store, *[{"lr": 0.05}] * 8)
    assert {one.params["optimizer"] for one in proposals} == {"sgd", "adamw"}
    assert {one.params["lr"] for one in proposals} == {0.05}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"nosuch": 1}, "nosuch is not in the sweep's params"),
        (SGD | {"lr[optimizer=adamw]": 0.001}, "lr[optimizer=adamw] applies only where optimizer is adamw"),
        (ADAMW | {"momentum": 0.7}, "momentum applies only where optimizer is sgd"),
        (ADAMW | {"ema": 0.5}, "ema is 0.5, but params allows 0.9"),
        (SGD | {"augmnt": 0.5}, "augmnt is not in the sweep's params; nearest: augment"),
        ({"optimizer": "adamw", "lr": 0.05}, "lr is 0.05, but params allows 0.0001 to 0.005, log"),
    ],
)
@pytest.mark.filterwarnings("ignore:Fixed parameter:UserWarning")  # Optuna's, of a value out of range
def test_a_name_that_is_of_no_use_fails_the_trial(
    sweep: MakeSweep, store: Store, entry: dict[str, Any], reason: str
) -> None:
    study = Study.open(sweep("start=[]"), store, faces(store))
    enqueue(store, entry)
    assert study.ask().number == 1
    [(number, why)] = study.refused()
    assert number == 0
    assert why.startswith(f"its entry in Optuna's queue is not valid: {reason}")
    failed = trials(store, "tiny")[0]
    assert (failed.state, failed.attrs["reason"]) == ("failed", why)


def test_a_trial_that_continues_is_not_checked_again(sweep: MakeSweep, store: Store) -> None:
    """Before, a name without a use was ignored, and such a trial may be interrupted."""
    study, [first] = asked(sweep, store, SGD)
    study._storage.set_trial_system_attr(
        study._frozen(first.number)._trial_id, "fixed_params", SGD | {"lr": 0.2, "nosuch": 1}
    )
    study.requeue(first.number, "killed")
    again, other = reopen(sweep("start=[]"), store)
    assert again.ask().params == first.params
    other.close()


def test_entries_that_are_prepared_and_given_up_stay_as_they_were(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep("start=[]"), store, faces(store))
    enqueue(store, SGD)
    study.look()
    study.prepare()
    study.forget_prepared()
    assert study._frozen(0).system_attrs["fixed_params"] == SGD
    assert has(study.ask().params, SGD)
