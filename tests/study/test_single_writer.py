"""Tests of the storage that a run uses: other writers, and that the database is the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import MetaData, Table, select

from fer_tune.errors import StudyError
from fer_tune.store import Store
from fer_tune.study import Counts, Study, trials
from fer_tune.sweep.space import keyed
from tests.optunas_command import optuna_prints
from tests.studies import job_of

from .conftest import MakeSweep, faces, reopen

TABLES = {
    "trial_params": ("param_name", "param_value", "distribution_json"),
    "trial_values": ("objective", "value", "value_type"),
    "trial_intermediate_values": ("step", "intermediate_value", "intermediate_value_type"),
    "trial_user_attributes": ("key", "value_json"),
    "trial_system_attributes": ("key", "value_json"),
}


def rows(store: Store, study: str) -> dict[str, list[tuple[Any, ...]]]:
    """Returns what Optuna's tables have of a study's trials, by table, without keys and times."""
    found = {}
    with store.engine.connect() as connection:
        tables = MetaData()
        all_trials = Table("trials", tables, autoload_with=connection)
        studies = Table("studies", tables, autoload_with=connection)
        key = connection.scalar(select(studies.c.study_id).where(studies.c.study_name == study))
        timed = (all_trials.c.datetime_start.is_(None), all_trials.c.datetime_complete.is_(None))
        query = select(all_trials.c.number, all_trials.c.state, *timed).where(all_trials.c.study_id == key)
        found["trials"] = sorted(map(tuple, connection.execute(query)))
        for name, columns in TABLES.items():
            table = Table(name, tables, autoload_with=connection)
            query = select(all_trials.c.number, *(table.c[column] for column in columns)).join(all_trials)
            found[name] = sorted(map(tuple, connection.execute(query.where(all_trials.c.study_id == key))), key=str)
    return found


def other_study(store: Store, name: str = "tiny") -> optuna.Study:
    """Returns the study as another process sees and changes it, with Optuna alone."""
    return optuna.load_study(study_name=name, storage=RDBStorage(store.url))


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    ("pruner", "optunas"),
    [
        ("{name: median, n_startup_trials: 2, n_warmup_steps: 2}", optuna.pruners.MedianPruner(2, 2)),
        (
            "{name: successive_halving, min_resource: 2, reduction_factor: 2}",
            optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=2),
        ),
    ],
    ids=["median", "successive halving"],
)
def test_the_database_is_the_one_that_optuna_itself_writes(
    sweep: MakeSweep, store: Store, pruner: str, optunas: optuna.pruners.BasePruner
) -> None:
    """Two trials run beside each other, so that their rows are written together."""
    wanted = sweep("sampler={name: tpe, n_startup_trials: 4, multivariate: true, group: true}", f"pruner={pruner}")
    study = Study.open(wanted, store, faces(store))
    plain = optuna.create_study(
        storage=RDBStorage(store.url),
        study_name="plain",
        direction="maximize",
        sampler=TPESampler(seed=7, n_startup_trials=4, multivariate=True, group=True),
        pruner=optunas,
    )
    plain.enqueue_trial(
        keyed(wanted.space, wanted.start[0].params),
        user_attrs={"start": "by hand 1"},
    )
    twin = Study.__new__(Study)  # draws from the sweep's space by Optuna's own storage
    for turn in range(7):
        with store.batch():
            pair = [study.ask(), study.ask()]
        asked = [plain.ask(), plain.ask()]
        for trial in asked:
            draw(twin, wanted, trial)
        live = {0, 1}
        for epoch in range(1, 7):
            values = {place: 0.3 + 0.05 * place + ((turn * 7 + place * 3) % 5) / 20 + epoch / 100 for place in live}
            with store.batch():
                for place, value in values.items():
                    study.record(pair[place].number, epoch, value)
            for place, value in values.items():
                asked[place].report(value, epoch)
                prune = asked[place].should_prune()
                assert study.report(pair[place].number, epoch, value) == prune
                if prune:
                    live.discard(place)
                    study.prune(pair[place].number, "x", {"epochs": epoch})
                    for key, entry in {"epochs": epoch, "reason": "x"}.items():
                        asked[place].set_user_attr(key, entry)
                    plain.tell(asked[place], state=TrialState.PRUNED)
        for place in live:
            study.complete(pair[place].number, 0.5 + turn / 100, {"device": "cpu"})
            asked[place].set_user_attr("device", "cpu")
            plain.tell(asked[place], 0.5 + turn / 100)
    ours, theirs = rows(store, "tiny"), rows(store, "plain")
    assert {state for _, state, *_ in ours["trials"]} == {"COMPLETE", "PRUNED"}
    for name, expected in theirs.items():
        assert ours[name] == expected, name
    loaded = other_study(store)
    assert [trial.params for trial in loaded.trials] == [trial.params for trial in study._all()]
    assert loaded.best_value == study._study.best_value


def draw(twin: Study, sweep: Any, trial: optuna.Trial) -> None:
    params: dict[str, Any] = {}
    for key, parameter in sweep.space.items():
        if parameter.active(params):
            params[parameter.name] = twin._suggest(trial, key, parameter.domain)


def test_optunas_own_command_reads_the_study(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    study.complete(study.ask().number, 0.5)
    printed = optuna_prints("trials", "--study-name", "tiny", "--storage", store.url)
    assert "COMPLETE" in printed
    assert "by hand 1" in printed


# other writers -------------------------------------------------------------------------------------------------------


def test_a_trial_that_another_process_enqueues_comes_next(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep("start=[]"), store, faces(store))
    first = study.ask()
    study.prepare()
    other_study(store).enqueue_trial({"optimizer": "adamw", "batch_size": 77})
    queued = study.ask()
    assert (first.number, queued.number, queued.params["batch_size"], queued.queued) == (0, 1, 77, True)
    assert study.ask().number == 2
    assert [trial.number for trial in other_study(store).trials] == [0, 1, 2]


def test_a_queue_that_changes_at_the_last_moment_is_noticed(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep("start=[]"), store, faces(store))
    proposal = study.propose()
    other_study(store).enqueue_trial({"optimizer": "adamw"})
    with store.batch():
        store.jobs.put(job_of(proposal.number, faces(store)))
        assert not study.start(proposal)
    assert store.jobs.of("tiny") == []
    assert [study.ask().params["optimizer"], study.counts()] == ["adamw", Counts(running=1)]


def test_a_queued_trial_that_another_process_takes_is_left_to_it(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    proposal = study.propose()
    assert proposal.queued
    assert other_study(store).ask().number == proposal.number
    assert not study.start(proposal)
    assert study.ask().number == 1


@pytest.mark.parametrize("late", ["row", "end"])
def test_a_trial_that_is_told_by_hand_is_noticed(sweep: MakeSweep, store: Store, late: str) -> None:
    study = Study.open(sweep(), store, faces(store))
    number = study.ask().number
    study.report(number, 1, 0.5)
    other_study(store).tell(number, 0.1)
    assert not study.lost
    study.report(number, 2, 0.6) if late == "row" else study.complete(number, 0.6, {"epochs": 2})
    assert study.lost
    assert study.taken() == [number]
    assert not study.lost
    ended = study.ended(number)
    assert ended is not None
    assert (ended.state, ended.value) == ("complete", 0.1)
    again, other = reopen(sweep(), store)
    assert (again._all()[0].value, again._all()[0].intermediate_values) == (0.1, {1: 0.5})
    other.close()


def test_looking_finds_what_another_process_told(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    number = study.ask().number
    study.look()
    assert study.counts() == Counts(running=1)
    other_study(store).tell(number, 0.1)
    assert study.counts() == Counts(running=1)
    study.look()
    assert study.counts() == Counts(complete=1)


def test_trials_that_were_deleted_meanwhile_are_an_error(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    study.ask()
    optuna.delete_study(study_name="tiny", storage=RDBStorage(store.url))
    with pytest.raises(StudyError, match="Another program deleted the study tiny while it ran"):
        study.ask()


# trials that are asked for ahead of time ----------------------------------------------------------


def test_a_prepared_trial_that_is_not_started_leaves_no_trace(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    study.prepare()  # from the queue
    study.prepare()  # drawn
    assert (study.prepared, study.counts()) == (2, Counts(waiting=1))
    assert [trial.state for trial in trials(store, "tiny")] == ["waiting"]
    study.forget_prepared()
    assert (study.prepared, study.counts()) == (0, Counts(waiting=1))
    assert [(trial.number, trial.name) for trial in (study.ask(), study.ask())] == [(0, "by hand 1"), (1, None)]


def test_prepared_trials_are_those_that_would_be_drawn(sweep: MakeSweep, store: Store) -> None:
    plain, early = (Study.open(sweep(f"study={name}"), store, faces(store)) for name in ("plain", "early"))
    expected = [plain.ask() for _ in range(4)]
    for _ in range(3):
        early.prepare()
    assert [early.ask() for _ in range(4)] == expected
    assert rows(store, "early") == rows(store, "plain")


def test_prepared_trials_differ_from_those_that_run(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep("sampler={name: tpe, n_startup_trials: 2}"), store, faces(store))
    for _ in range(4):
        study.complete(study.ask().number, 0.5)
    drawn = [study.ask()]
    for _ in range(4):
        study.prepare()
    drawn += [study.ask() for _ in range(4)]
    assert len({str(proposal.params) for proposal in drawn}) == 5


def test_what_optuna_adds_to_a_draft_is_not_added_to_the_queue(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    draft = study._study.ask()
    draft.set_user_attr("colour", "red")
    draft.suggest_categorical("optimizer", ["sgd", "adamw"])
    study._storage.forget_drafts()
    queued = study._storage.memory.trials[0]
    assert (queued.user_attrs, queued.params, queued.distributions) == ({"start": "by hand 1"}, {}, {})


def test_what_optuna_adds_to_a_draft_is_written_when_it_starts(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    study._study.ask().set_user_attr("colour", "red")
    study._storage.start(0)
    store.commit()
    (trial,) = trials(store, "tiny")
    assert (trial.name, trial.attrs["colour"]) == ("by hand 1", "red")


def test_requeueing_gives_prepared_trials_up(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep("start=[]"), store, faces(store))
    first = study.ask()
    study.prepare()
    assert study.requeue(first.number, "killed") == 1
    again = study.ask()
    assert (again.number, again.params, again.seed) == (1, first.params, first.seed)
    assert study.ask().number == 2


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keeps Optuna from printing a line for each trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def test_memory_is_read_again_after_writes_that_were_given_up(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    number = study.ask().number
    with store.batch():
        study.complete(number, 0.5)
        store.pending.discard()
    assert study.counts() == Counts(complete=1)
    study.ask()
    assert study.counts() == Counts(running=2)
