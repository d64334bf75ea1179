import warnings

import optuna
import pytest

from fer_tune.errors import StudyError
from fer_tune.store import Store
from fer_tune.study import Study
from fer_tune.study import samplers as samplers_module

from .conftest import MakeSweep, faces, reopen

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
