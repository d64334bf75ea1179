"""Reading by plain SQL gives what Optuna gives, for trials of all kinds."""

import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy import text

from fer_tune.errors import StorageError, StudyError
from fer_tune.settings import Settings
from fer_tune.store import Store, StudyLock
from fer_tune.study import Study, counts, ranking, summaries, trials
from fer_tune.study.frozen_trials import frozen_trials
from fer_tune.study.optuna_tables import REVISION, external
from fer_tune.study.storage import optuna_storage
from fer_tune.study.trial_states import STATES, count, state_of

from .conftest import MakeSweep, faces

DISTRIBUTIONS = {
    "rate": FloatDistribution(1e-5, 1.0, log=True),
    "share": FloatDistribution(0.0, 1.0, step=0.25),
    "size": IntDistribution(1, 9, step=2),
    "width[optimizer=sgd,adam]": IntDistribution(1, 1024, log=True),
    "mixed": CategoricalDistribution((None, True, 2, 0.5, "word: ä")),
}


def all_kinds(sweep: MakeSweep, store: Store) -> optuna.Study:
    """Makes a study that has trials of all kinds, and returns it as Optuna loads it."""
    study = Study.open(sweep(), store, faces(store))
    theirs = optuna.load_study(study_name="tiny", storage=store.url)
    study.ask()
    study.report(0, 1, 0.25)
    study.report(0, 2, 0.5)
    study.report(0, 3, 0.5)
    study.complete(0, 0.5, {"device": "cpu", "notes": ["a", {"b": None}], "seconds": 1e300})
    study.ask()
    study.report(1, 1, 0.125)
    study.prune(1, "pruned in epoch 1")
    study.ask()
    study.prune(2, "time")  # without a value
    study.ask()
    study.fail(3, "RuntimeError: one line", infeasible=0.75)
    study.ask()
    study.report(4, 1, 0.875)
    study.requeue(4, "interrupted")  # trial 5 waits
    for choice in DISTRIBUTIONS["mixed"].choices:  # type: ignore[attr-defined]
        params = {"rate": 1e-3, "share": 0.75, "size": 7, "width[optimizer=sgd,adam]": 512, "mixed": choice}
        theirs.add_trial(create_trial(value=0.5, params=params, distributions=DISTRIBUTIONS))
    special = {1: math.inf, 2: -math.inf, 4: 0.1 + 0.2}
    theirs.add_trial(create_trial(value=math.inf, intermediate_values=special))
    theirs.add_trial(create_trial(value=-math.inf, system_attrs={"constraints": [0.0, -1.0]}))
    theirs.add_trial(create_trial(value=0.9, system_attrs={"constraints": [0.0, 0.5]}))
    theirs.add_trial(create_trial(value=0.9, system_attrs={"constraints:memory": 0.5}))
    theirs.add_trial(create_trial(state=TrialState.PRUNED, value=0.7))
    theirs.enqueue_trial({"batch_size": 64}, user_attrs={"start": "by hand"})
    study.ask()  # the queued one runs
    study.report(5, 1, 0.75)
    number = study.ask().number
    study.report(number, 1, 0.5)
    study.pause(number, 1)
    theirs.enqueue_trial({"batch_size": 128})
    return optuna.load_study(study_name="tiny", storage=store.url)


def test_trials_equal_those_of_optuna(sweep: MakeSweep, store: Store) -> None:
    theirs = all_kinds(sweep, store).get_trials()
    ours = frozen_trials(store, "tiny")
    assert len(ours) > 15
    assert {trial.state for trial in theirs} == set(TrialState)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == other
        assert [type(value) for value in mine.params.values()] == [type(value) for value in other.params.values()]
        assert mine.constraints == other.constraints
    over = (TrialState.COMPLETE, TrialState.FAIL)
    assert frozen_trials(store, "tiny", over) == [trial for trial in theirs if trial.state in over]


def test_summaries_say_what_optunas_trials_say(sweep: MakeSweep, store: Store) -> None:
    theirs = all_kinds(sweep, store).get_trials()
    ours = trials(store, "tiny")
    assert {trial.state for trial in ours} == set(STATES) - {"running"}  # no process holds the lock
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.number == other.number
        assert mine.state == state_of(other, is_run=False)
        paused = mine.state == "paused"  # Optuna has no value of a trial that runs
        assert mine.value == (other.intermediate_values[max(other.intermediate_values)] if paused else other.value)
        assert mine.attrs == other.user_attrs
        assert mine.epochs == len(other.intermediate_values)
        for ours_at, theirs_at in ((mine.started, other.datetime_start), (mine.ended, other.datetime_complete)):
            assert (ours_at and ours_at.astimezone().replace(tzinfo=None)) == theirs_at
        drawn = other.system_attrs["fixed_params"] if mine.state == "waiting" else other.params
        assert mine.params == {key.partition("[")[0]: value for key, value in drawn.items()}
    assert ours[0].best_epoch == 2  # the first of equal ones
    assert summaries(store)[0].counts == counts(store, "tiny") == count(theirs, is_run=False)


def test_the_ranking_leaves_out_what_optuna_calls_infeasible(sweep: MakeSweep, store: Store) -> None:
    study = all_kinds(sweep, store)
    ranked = ranking(store, "tiny", None)
    assert ranked[0].number == study.best_trial.number
    feasible = [
        trial.number
        for trial in study.get_trials()
        if trial.state == TrialState.COMPLETE and all(excess <= 0 for excess in trial.constraints.values())
    ]
    assert sorted(trial.number for trial in ranked) == feasible
    assert [trial.value for trial in ranked] == sorted((trial.value for trial in ranked), reverse=True)


def test_a_trial_that_runs_is_running_while_the_lock_is_held(settings: Settings, sweep: MakeSweep) -> None:
    with Store.of(settings) as store:
        Study.open(sweep(), store, faces(store)).ask()
        assert [trial.state for trial in trials(store, "tiny")] == ["interrupted"]
        with StudyLock(settings, settings.url, "tiny"):
            [trial] = trials(store, "tiny")
            assert trial.state == "running"
            assert trial.started is not None
            assert timedelta() <= datetime.now(UTC) - trial.started < timedelta(minutes=1)


def test_many_trials_are_not_named_one_by_one(sweep: MakeSweep, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = all_kinds(sweep, store).get_trials()
    few = trials(store, "tiny")
    monkeypatch.setattr("fer_tune.study.optuna_queries.NAMED", 0)
    assert trials(store, "tiny") == few
    assert frozen_trials(store, "tiny", (TrialState.COMPLETE,)) == [
        trial for trial in theirs if trial.state == TrialState.COMPLETE
    ]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_every_distribution_is_converted_as_optuna_converts_it(
    distribution: optuna.distributions.BaseDistribution,
) -> None:
    written = optuna.distributions.distribution_to_json(distribution)
    for number in (1.0, 3.0):
        value = external(number, written)
        assert value == distribution.to_external_repr(number)
        assert type(value) is type(distribution.to_external_repr(number))


def test_the_abbreviated_forms_of_distributions_are_read_too() -> None:
    choices = json.dumps({"type": "categorical", "choices": ["a", "b"]})
    assert external(1.0, choices) == "b"
    assert external(3.0, json.dumps({"type": "int", "low": 1, "high": 4})) == 3
    assert external(0.5, json.dumps({"type": "float", "low": 0, "high": 4})) == 0.5


def test_the_revision_is_that_of_the_installed_optuna(store: Store) -> None:
    assert optuna_storage(store)._backend.get_head_version() == REVISION  # type: ignore[attr-defined]


def test_tables_of_another_revision_are_refused(sweep: MakeSweep, store: Store) -> None:
    Study.open(sweep(), store, faces(store))
    with store.engine.begin() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = 'v99.0.0.a'"))
    another = Store.open(store.url, create=False, root=store.root)
    with another, pytest.raises(StorageError, match="Another version of Optuna") as caught:
        trials(another, "tiny")
    assert "upgrade" in caught.value.hint


def test_a_study_whose_trials_were_deleted(sweep: MakeSweep, store: Store) -> None:
    Study.open(sweep(), store, faces(store))
    optuna.delete_study(study_name="tiny", storage=store.url)
    with pytest.raises(StudyError, match="The trials of the study tiny are not in"):
        ranking(store, "tiny")
    assert summaries(store)[0].best is None


def test_readers_do_not_import_optuna(sweep: MakeSweep, store: Store) -> None:
    Study.open(sweep(), store, faces(store)).ask()
    code = f"""
import sys
from fer_tune import api
assert [trial.number for trial in api.trials(storage={store.url!r})] == [0]
assert not api.best(storage={store.url!r})
assert len(api.studies(storage={store.url!r})) == 1
print(*{{"optuna", "pandas", "alembic"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
