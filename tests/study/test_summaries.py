import json
import time

import optuna
import pytest

from fer_tune.errors import StudyError
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import Counts, Study, ranking, summaries, trial, trials
from tests.optunas_command import optuna_prints
from tests.studies import SWEEP, make_study

from .conftest import MakeSweep, faces


def told(study: Study, *values: float) -> None:
    for value in values:
        number = study.ask().number
        study.report(number, 1, value / 2)
        study.report(number, 2, value)
        study.complete(number, value, {"parameters": 100})


def test_the_ranking_agrees_with_optunas_command_line(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    told(study, 0.3, 0.6, 0.5, 0.6, 0.6)
    study.ask()
    study.report(5, 1, 0.99)
    study.prune(5, "pruned")  # a pruned trial is never the best
    found = optuna_prints("best-trial", "--storage", store.url, "--study-name", "tiny", "--format", "json")
    theirs = json.loads(found)
    ours = ranking(store, "tiny", top=3)
    assert (ours[0].number, {"val_accuracy": ours[0].value}) == (theirs["number"], theirs["value"])
    assert [trial.number for trial in ours] == [1, 3, 4]
    assert [trial.number for trial in ranking(store, "tiny", None)] == [1, 3, 4, 2, 0]
    assert ranking(store, "tiny", states=("complete", "pruned"))[0].number == 5


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (0, 1, 2)])
def test_equal_values_follow_optuna_in_whatever_order_the_database_has_them(
    sweep: MakeSweep, store: Store, order: tuple[int, ...]
) -> None:
    study = Study.open(sweep(), store, faces(store))
    for _ in order:
        study.ask()
    for number in order:
        study.complete(number, 0.6)
    found = [trial.number for trial in ranking(store, "tiny", 3)]
    best = optuna.load_study(study_name="tiny", storage=store.url).best_trial.number
    assert found == [best, *(number for number in range(3) if number != best)]


def test_trials_read_without_the_sweep(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    waiting = trials(store, "tiny")
    assert [(t.state, t.params["lr"], t.name) for t in waiting] == [("waiting", 0.1, "by hand 1")]
    asked = study.ask()
    study.ask()
    study.complete(0, 0.5)
    with Store.open(store.url, create=False, root=store.root) as reader:
        first, second = trials(reader, "tiny")
        assert first.params == {
            name: value for name, value in asked.params.items() if name != "ema"
        }  # these are the searched ones, because the trial has no job
        assert first.started is not None
        assert first.started.utcoffset() is not None
        assert abs(first.started.timestamp() - time.time()) < 60
        assert trials(reader, "tiny", states=("interrupted",)) == [second]  # no process holds the study's lock


def test_params_that_an_earlier_version_recorded_are_read(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    told(study, 0.5)
    inner = optuna.load_study(study_name="tiny", storage=store.url)
    inner._storage.set_trial_user_attr(ask_id := inner.ask()._trial_id, "params", {"lr": 0.25, "momentum": 0.5})
    assert ask_id
    old = trials(store, "tiny")[1]
    assert old.params == {"lr": 0.25, "momentum": 0.5}
    assert "params" not in old.attrs


def test_no_attribute_of_a_trial_is_a_long_line(sweep: MakeSweep, store: Store) -> None:
    """optuna-dashboard shows each attribute on one line, and makes its page as wide as that."""
    study = Study.open(sweep(), store, faces(store))
    told(study, 0.5)
    [trial] = optuna.load_study(study_name="tiny", storage=store.url).get_trials()
    assert max(len(json.dumps(value)) for value in trial.user_attrs.values()) < 100


def test_params_of_a_trial_that_was_trained_include_the_fixed_ones(settings: Settings) -> None:
    sweep = SWEEP.replace("params:\n", "params:\n  batch_size: 64\n")
    with make_study(settings, (("complete", [0.5]),), sweep) as store:
        [found] = trials(store, "tiny")
        assert found.params == {"lr": 1e-3, "width": 8, "batch_size": 64}
        assert trial(store, "tiny", 0) == found


def test_summaries_of_all_studies(sweep: MakeSweep, store: Store) -> None:
    told(Study.open(sweep(), store, faces(store)), 0.3, 0.4)
    Study.open(sweep("study=fresh"), store, faces(store))
    one, two = summaries(store)
    assert (one.name, one.counts) == ("tiny", Counts(complete=2))
    assert one.best is not None
    assert one.best.number == 1
    assert (two.name, two.counts, two.best) == ("fresh", Counts(waiting=1), None)


def test_an_empty_ranking_and_an_unknown_study(sweep: MakeSweep, store: Store) -> None:
    Study.open(sweep(), store, faces(store))
    assert ranking(store, "tiny") == []
    with pytest.raises(StudyError, match="no study tini") as caught:
        ranking(store, "tini")
    assert "tiny" in caught.value.hint
