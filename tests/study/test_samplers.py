import json
import os
import pickle
import warnings

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.samplers._tpe import _truncnorm
from sqlalchemy import text

from fer_tune.errors import StudyError
from fer_tune.store import Store
from fer_tune.study import Study, sampler_view
from fer_tune.study import samplers as samplers_module
from fer_tune.study.sampler_view import LearningSampler
from fer_tune.study.tpe import OnceTPESampler

from .conftest import MakeSweep, faces, reopen
from .test_normal_distribution import log_ndtr_of_optuna

NUMBERS = ("params={lr: {low: 1e-4, high: 1e-2, log: true}, augment: {low: 0, high: 1}}", "start=[]")


def run(study: Study, trials: int) -> list[dict[str, object]]:
    drawn = []
    for _ in range(trials):
        proposal = study.ask()
        value = 0.5 - abs(float(proposal.params.get("augment", 0.0)) - 0.3)  # best at 0.3
        study.report(proposal.number, 1, value)
        study.complete(proposal.number, value)
        drawn.append(dict(proposal.params))
    return drawn


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "{name: gp, n_startup_trials: 4}"])
def test_every_sampler_draws_from_a_conditional_space(sweep: MakeSweep, store: Store, sampler: str) -> None:
    study = Study.open(sweep(f"sampler={sampler}"), store, faces(store))
    drawn = run(study, 12 if sampler == "tpe" else 6)
    assert len({str(params) for params in drawn}) == len(drawn)


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "qmc"])
def test_a_continued_study_does_not_replay_its_draws(sweep: MakeSweep, store: Store, sampler: str) -> None:
    wanted = sweep(f"sampler={sampler}", *NUMBERS)
    first = run(Study.open(wanted, store, faces(store)), 4)
    again, other = reopen(wanted, store)
    drawn = first + run(again, 4)
    assert len({str(params) for params in drawn}) == 8
    other.close()


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc"])
def test_the_same_seed_draws_the_same(sweep: MakeSweep, store: Store, sampler: str) -> None:
    drawn = [
        run(Study.open(sweep(f"sampler={sampler}", f"study={name}"), store, faces(store)), 12) for name in ("a", "b")
    ]
    assert drawn[0] == drawn[1]
    other = run(Study.open(sweep(f"sampler={sampler}", "study=c", "seed=8"), store, faces(store)), 12)
    assert sampler == "qmc" or other != drawn[0]


def state_of(study: Study) -> tuple[int, list[float], float]:
    """Returns generation, mean and step size of CMA-ES."""
    optimizer = study._study.sampler.inner._optimizer  # type: ignore[attr-defined]
    return optimizer.generation, optimizer._mean.tolist(), optimizer._sigma


def test_cmaes_goes_on_from_its_trials_and_no_pickle_is_read_or_written(sweep: MakeSweep, store: Store) -> None:
    """The database has a pickle that runs code if Optuna's own sampler reads it."""
    wanted = sweep("sampler={name: cmaes, popsize: 4}", *NUMBERS)
    study = Study.open(wanted, store, faces(store))
    run(study, 15)
    before = state_of(study)
    assert before[0] >= 2
    written = [key for trial in study._study.trials for key in trial.system_attrs]
    assert any("generation" in key for key in written)
    assert not any("optimizer" in key for key in written)
    trap = store.root / "trap"
    pickled = pickle.dumps(Trap(str(trap))).hex()
    with store.engine.begin() as tx:
        row = {"trial_id": 15, "key": "cma:optimizer:0", "value": json.dumps(pickled)}
        tx.execute(
            text("INSERT INTO trial_system_attributes (trial_id, key, value_json) VALUES (:trial_id, :key, :value)"),
            row,
        )
    again, other = reopen(wanted, store)
    again.ask()
    assert not trap.exists()
    assert state_of(again) == before
    theirs = optuna.samplers.CmaEsSampler(warn_independent_sampling=False)
    same = optuna.load_study(study_name="tiny", storage=again._study._storage, sampler=theirs)
    same.ask().suggest_float("lr", 1e-4, 1e-2, log=True)
    assert trap.exists(), "the pickle did not run its code"
    other.close()


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def test_random_draws_do_not_depend_on_what_was_told(sweep: MakeSweep, store: Store) -> None:
    one = Study.open(sweep("study=one"), store, faces(store))
    two = Study.open(sweep("study=two", "pruner=hyperband"), store, faces(store))
    asked = [one.ask().params for _ in range(6)]
    assert asked == run(two, 6)


def test_a_missing_package_is_said_before_the_first_trial(
    sweep: MakeSweep, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samplers_module, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(StudyError, match="gp needs torch"):
        Study.open(sweep("sampler=gp"), store, faces(store))


def test_opening_with_options_marked_experimental_warns_of_nothing(sweep: MakeSweep, store: Store) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", optuna.exceptions.ExperimentalWarning)
        Study.open(sweep("sampler={name: tpe, group: true}", "pruner=patient"), store, faces(store))
    assert not caught


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("group", [True, False])
def test_tpe_draws_what_optunas_own_draws(
    sweep: MakeSweep, store: Store, monkeypatch: pytest.MonkeyPatch, group: bool
) -> None:
    """Three trials run at any time, some are pruned (also before their first epoch), some are
    equally good, and some do not fit into memory."""
    options = {"n_startup_trials": 5, "multivariate": True, "group": group, "seed": 3}
    drawn = []
    for name, sampler in (("ours", OnceTPESampler(**options)), ("theirs", TPESampler(**options))):
        if name == "theirs":
            monkeypatch.setattr(_truncnorm, "_log_ndtr", log_ndtr_of_optuna)
        study = Study.open(sweep(f"study={name}", "start=[]"), store, faces(store))
        study._study.sampler = LearningSampler(sampler)
        params = []
        running = [study.ask() for _ in range(3)]
        for turn in range(25):
            first = running.pop(0)
            params.append(first.params)
            value = (turn * 7 % 11) / 11
            if turn % 6 != 4:
                study.report(first.number, 1, value)
            if turn % 5 == 3:
                study.fail(first.number, "does not fit", infeasible=0.5)
            elif turn % 3 == 1:
                study.prune(first.number, "x")
            else:
                study.complete(first.number, value)
            running.append(study.ask())
        drawn.append(params)
    assert drawn[0] == drawn[1]


def test_tpe_sees_the_best_and_the_latest_of_a_long_study(
    sweep: MakeSweep, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_view, "BEST", 2)
    monkeypatch.setattr(sampler_view, "LATEST", 3)
    study = Study.open(sweep("sampler={name: tpe, n_startup_trials: 2}", "start=[]"), store, faces(store))
    running = study.ask().number
    with store.batch():
        for value in (0.1, 0.9, 0.2, 0.8, 0.3, 0.4, 0.5):
            study.complete(study.ask().number, value)
        study.fail(study.ask().number, "x")
    seen: list[list[int]] = []
    inner = study._study.sampler.inner  # type: ignore[attr-defined]
    whole = inner._split_trials

    def split(view: optuna.Study, trial: optuna.trial.FrozenTrial) -> object:
        seen.append([other.number for other in view.get_trials(deepcopy=False)])
        return whole(view, trial)

    monkeypatch.setattr(inner, "_split_trials", split)
    latest = study.ask().number
    assert seen == [[running, 2, 4, 6, 7, 8, latest]]


@pytest.mark.parametrize("sampler", ["random", "effects"])
def test_a_range_that_may_be_off_is_off_in_that_share_of_the_draws(
    sweep: MakeSweep, store: Store, sampler: str
) -> None:
    space = "params={lr: 0.01, augment: {low: 0, high: 1, off: 0.7}}"
    study = Study.open(sweep(f"sampler={sampler}", space, "start=[]"), store, faces(store))
    drawn = [study.ask().params["augment"] for _ in range(60)]
    assert 30 < sum(value == 0 for value in drawn) < 54
