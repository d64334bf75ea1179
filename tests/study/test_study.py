from math import nan

import optuna
import pytest
from sqlalchemy import text

from fer_tune.errors import StorageError, StudyError
from fer_tune.store import Store
from fer_tune.study import Counts, Study, trials
from tests.studies import job_of

from .conftest import MakeSweep, faces, reopen


def test_the_start_comes_first_and_params_are_complete_and_active(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    first = study.ask()
    assert (first.number, first.name, first.attempt, first.seed) == (0, "by hand 1", 0, 7)
    assert first.params == {
        "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "batch_size": 64, "augment": 0.0, "ema": 0.9,
    }  # fmt: skip
    for _ in range(10):
        proposal = study.ask()
        assert proposal.name is None
        assert ("momentum" in proposal.params) == (proposal.params["optimizer"] == "sgd")
        assert isinstance(proposal.params["batch_size"], int)
        low, high = (0.01, 0.3) if proposal.params["optimizer"] == "sgd" else (1e-4, 5e-3)
        assert low <= proposal.params["lr"] <= high  # type: ignore[operator]
        assert proposal.params["ema"] == 0.9


def test_a_start_entry_may_leave_parameters_to_the_sampler(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep("start=[{optimizer: adamw}]"), store, faces(store))
    proposal = study.ask()
    assert proposal.params["optimizer"] == "adamw"
    assert proposal.params.keys() == {"optimizer", "lr", "batch_size", "augment", "ema"}
    assert proposal.name == "start 1"


def test_how_trials_end_and_what_is_counted(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    for _ in range(4):
        study.ask()
    for epoch, value in enumerate((0.3, 0.5, 0.4), 1):
        assert not study.report(0, epoch, value)
        assert not study.report(1, epoch, value / 2)
    study.complete(0, 0.5, {"seconds": 1.5, "best_epoch": 2, "images_per_second": nan, "device": "cpu"})
    study.prune(1, "worse than the median", {"epochs": 3})
    study.fail(2, "out of memory")
    assert study.counts() == Counts(complete=1, pruned=1, failed=1, running=1)
    assert study.counts().finished == 3
    complete, pruned, failed, running = trials(store, "tiny")
    assert (complete.value, complete.best_epoch, complete.epochs, complete.name) == (0.5, 2, 3, "by hand 1")
    assert complete.attrs["device"] == "cpu"
    assert "images_per_second" not in complete.attrs
    assert complete.seconds is not None
    assert (pruned.value, pruned.attrs["reason"]) == (0.2, "worse than the median")
    assert (failed.state, failed.value, failed.attrs["reason"]) == ("failed", None, "out of memory")
    assert (running.state, running.ended) == ("interrupted", None)  # no process holds the study's lock


def test_a_trial_ends_once(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    study.ask()
    study.complete(0, 0.5)
    study.complete(0, 0.9)
    study.fail(0, "late")
    assert [(t.state, t.value) for t in trials(store, "tiny")] == [("complete", 0.5)]
    with pytest.raises(StudyError, match="is complete, not running"):
        study.report(0, 1, 0.5)
    with pytest.raises(StudyError, match="no trial 9"):
        study.complete(9, 0.5)
    with pytest.raises(StudyError, match="nan"):
        study.complete(0, nan)


def test_a_value_that_is_not_finite_prunes_and_keeps_the_last_finite_one(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    study.ask()
    assert not study.report(0, 1, 0.25)
    assert study.report(0, 2, nan)
    study.prune(0, "the loss is not finite")
    assert trials(store, "tiny")[0].value == 0.25


def test_continuing_goes_on_where_the_study_was(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    study.ask()
    study.complete(0, 0.5)
    again, other = reopen(sweep("budget.trials=50", "sampler=tpe", "pruner=median"), store)
    assert again.ask().number == 1
    assert again.counts() == Counts(complete=1, running=1)
    assert len(other.studies.all()) == 1
    other.close()


def test_new_start_entries_are_enqueued_when_a_study_continues(sweep: MakeSweep, store: Store) -> None:
    Study.open(sweep(), store, faces(store))
    known = "{optimizer: sgd, lr: 0.1, momentum: 0.9, batch_size: 64, augment: 0}"
    more = f"start=[{{name: b, optimizer: adamw, lr: 0.001}}, {known}]"
    study = Study.open(sweep(more), store, faces(store))
    assert [study.ask().name for _ in range(3)] == ["by hand 1", "b", None]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("augment=0.5", "space.augment: {low: 0.0, high: 1.0}, now 0.5"),
        ("budget.epochs=12", "epochs: 9, now 12"),
        ("split.seed=1", "split.seed: 42, now 1"),
        ("objective=val_macro_f1", "objective: val_accuracy, now val_macro_f1"),
        ("mixup={low: 0, high: 1}", "space.mixup: absent, now"),
        ("seed=8", "seed: 7, now 8"),
    ],
)
def test_a_changed_sweep_is_refused_with_what_differs(sweep: MakeSweep, store: Store, override: str, said: str) -> None:
    Study.open(sweep(), store, faces(store)).ask()
    with pytest.raises(StudyError) as caught:
        Study.open(sweep(override), store, faces(store))
    assert said in caught.value.message
    assert caught.value.message.count("\n") == 1  # there is one line of differences
    assert "--set study=NAME" in caught.value.hint
    Study.open(sweep(override, "study=another"), store, faces(store))


def test_other_faces_and_another_split_are_refused(sweep: MakeSweep, store: Store) -> None:
    Study.open(sweep(), store, faces(store)).ask()
    with pytest.raises(StudyError, match="other images than demo: their signature is faces, not eyes"):
        Study.open(sweep(), store, faces(store, "eyes"))
    with pytest.raises(StudyError, match="another split"):
        Study.open(sweep(), store, faces(store, split="tilps"))


def test_the_record_leads_back_to_the_faces(sweep: MakeSweep, store: Store) -> None:
    Study.open(sweep(), store, faces(store), {"train": 5, "val": 1, "test": 1})
    record = store.studies.get("tiny")
    assert record.data_ref(store.root) == faces(store)
    assert record.split.counts == {"train": 5, "val": 1, "test": 1}
    assert "family: simple_cnn" in record.sweep_text
    assert record.versions["optuna"] == optuna.__version__


def test_a_study_that_optuna_has_but_we_do_not_is_refused(sweep: MakeSweep, store: Store) -> None:
    optuna.create_study(study_name="tiny", storage=store.url)
    with pytest.raises(StudyError, match="did not make"):
        Study.open(sweep(), store, faces(store))
    assert store.studies.all() == []


def test_a_study_whose_trials_were_deleted_is_refused(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    job = job_of(study.ask().number, faces(store))
    store.jobs.put(job)
    store.jobs.start_attempt(job, 0, "cpu")
    optuna.delete_study(study_name="tiny", storage=store.url)
    again = Store.open(store.url, root=store.root)
    with pytest.raises(StudyError, match="Another program deleted"):
        Study.open(sweep(), again, faces(again))
    with pytest.raises(StudyError, match="not in"):
        trials(again, "tiny")
    again.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_optunas_connections_have_the_pragmas_too(sweep: MakeSweep, store: Store) -> None:
    from fer_tune.study.storage import optuna_storage

    backend = optuna_storage(store)._backend  # type: ignore[attr-defined]
    with backend.engine.connect() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        assert [connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in pragmas] == ["wal", 1, 1]


def test_optunas_tables_of_another_version_are_recognised(sweep: MakeSweep, store: Store) -> None:
    Study.open(sweep(), store, faces(store))
    with store.engine.begin() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = 'v99.0.0.a'"))
    with pytest.raises(StorageError, match="Another version of Optuna") as caught:
        reopen(sweep(), store)
    assert "upgrade" in caught.value.hint
