import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.pruners import PercentilePruner

from fer_tune.errors import StudyError
from fer_tune.store import Store
from fer_tune.study import Study
from fer_tune.study.percentile import quantile
from fer_tune.study.pruners import make_pruner
from fer_tune.sweep.schema import PrunerSpec

from .conftest import MakeSweep, faces, reopen

EPOCHS = 9

PRUNERS = (
    "{name: median, n_startup_trials: 2}",
    "{name: percentile, percentile: 50, n_startup_trials: 2}",
    "{name: successive_halving, reduction_factor: 2}",
    "{name: hyperband, reduction_factor: 3}",
    "{name: patient, patience: 1, wrapped_pruner: {name: median, n_startup_trials: 2}}",
)


def train(study: Study, height: float, falls: bool = False) -> int:
    """Trains a trial whose curve stays at `height`. Returns the number of its epochs."""
    number = study.ask().number
    for epoch in range(1, EPOCHS + 1):
        value = height - (epoch / 100 if falls else 0)
        if study.report(number, epoch, value):
            study.prune(number, "told to")
            return epoch
    study.complete(number, height)
    return EPOCHS


@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_pruner_ends_the_bad_and_spares_the_best(sweep: MakeSweep, store: Store, pruner: str) -> None:
    study = Study.open(sweep(f"pruner={pruner}"), store, faces(store))
    lengths = [train(study, height) for height in (0.5, 0.6, 0.7)]
    assert lengths == [EPOCHS] * 3
    bad = [train(study, 0.1 - place / 1000, falls=True) for place in range(4)]
    assert min(bad) < EPOCHS
    assert train(study, 0.9) == EPOCHS


def test_none_prunes_nothing(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep("pruner=none"), store, faces(store))
    assert [train(study, height) for height in (0.9, 0.1, 0.05)] == [EPOCHS] * 3


def test_a_second_report_of_an_epoch_gets_the_first_answer(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep("pruner={name: successive_halving, reduction_factor: 2}"), store, faces(store))
    train(study, 0.9)
    number = study.ask().number
    assert study.report(number, 1, 0.1)
    assert study.report(number, 1, 0.1)  # Optuna itself would answer False now


def test_the_last_epoch_is_never_pruned(sweep: MakeSweep, store: Store) -> None:
    late = f"{{name: median, n_startup_trials: 1, n_warmup_steps: {EPOCHS}}}"
    study = Study.open(sweep(f"pruner={late}"), store, faces(store))
    train(study, 0.9)
    assert train(study, 0.1) == EPOCHS
    assert study.counts().complete == 2


def test_a_running_trial_is_taken_over_with_its_reports(sweep: MakeSweep, store: Store) -> None:
    median = sweep("pruner={name: median, n_startup_trials: 1}")
    study = Study.open(median, store, faces(store))
    train(study, 0.5)
    number = study.ask().number
    study.report(number, 1, 0.6)
    again, other = reopen(median, store)
    assert not again.report(number, 1, 0.6)
    assert not again.report(number, 2, 0.6)
    again.complete(number, 0.6)
    other.close()


def test_hyperband_knows_its_brackets_before_the_first_report(sweep: MakeSweep, store: Store) -> None:
    wanted = sweep("pruner={name: hyperband, reduction_factor: 2}")
    study = Study.open(wanted, store, faces(store))
    for _ in range(6):
        train(study, 0.5)
    again, other = reopen(wanted, store)
    brackets = [
        [s._study.pruner._get_bracket_id(s._study, t) for t in s._study.get_trials()]  # type: ignore[attr-defined]
        for s in (study, again)
    ]
    assert brackets[0] == brackets[1]
    assert len(set(brackets[0])) > 1
    other.close()


def test_hyperband_refuses_resources_that_leave_no_bracket() -> None:
    with pytest.raises(StudyError, match="min_resource 10 above max_resource 9"):
        make_pruner(PrunerSpec("hyperband", {"min_resource": 10}), EPOCHS)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.floats(0, 100))
def test_the_quantile_is_numpys_to_the_last_bit(values: list[float], percent: float) -> None:
    assert quantile(sorted(values), percent / 100) == np.nanpercentile(np.array(values), percent)


@pytest.mark.parametrize("percentile", [25.0, 50.0, 80.0])
def test_percentiles_prune_as_optunas_pruner_does(sweep: MakeSweep, store: Store, percentile: float) -> None:
    options = {"percentile": percentile, "n_startup_trials": 3, "n_warmup_steps": 1, "n_min_trials": 2}
    how = ", ".join(f"{name}: {value}" for name, value in options.items())
    study = Study.open(sweep(f"pruner={{name: percentile, {how}}}"), store, faces(store))
    optunas = PercentilePruner(**options)  # type: ignore[arg-type]
    draws, answers = random.Random(0), []
    for _ in range(20):
        number = study.ask().number
        for epoch in range(1, 6):
            answer = study.report(number, epoch, draws.random())
            answers.append(answer)
            assert optunas.prune(study._study, study._all()[number]) == answer
        study.complete(number, 0.5)
    assert 5 <= sum(answers) <= 95
