"""Tests of interrupted trials: they are queued again under another number and counted once."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from fer_tune.errors import StudyError
from fer_tune.store import Store
from fer_tune.study import Counts, Study, ranking, trials
from fer_tune.study.trial_states import RETRY_OF

from .conftest import MakeSweep, faces, reopen

CRASH = """
import os, sys
from pathlib import Path
from fer_tune.store import Store
from fer_tune.study import Study
from fer_tune.sweep.load import load_sweep
from tests.studies import job_of
from tests.study.conftest import faces
root = Path(sys.argv[1])
store = Store.open(sys.argv[2], root=root)
study = Study.open(load_sweep(root / "tiny.yaml"), store, faces(store))
for _ in range(3):
    proposal = study.ask()
    job = job_of(proposal.number, faces(store))
    store.jobs.put(job)
    store.jobs.start_attempt(job, 0, "cpu")
    study.report(proposal.number, 1, 0.1)
study.complete(1, 0.2)
os._exit(9)
"""


def test_a_requeued_trial_keeps_what_it_was_and_counts_once(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    first, second = study.ask(), study.ask()
    assert study.requeue(0, "its worker died") == 2
    assert study.requeue(1, "its worker died") == 3
    assert study.counts() == Counts(waiting=2)
    again = study.ask()
    assert (again.number, again.attempt) == (2, 1)
    assert (again.params, again.name, again.seed) == (first.params, "by hand 1", first.seed)
    study.requeue(2, "again")
    random_again, third_try = study.ask(), study.ask()
    assert (random_again.params, random_again.seed) == (second.params, second.seed)
    assert (third_try.params, third_try.attempt, third_try.seed) == (first.params, 2, first.seed)
    study.complete(third_try.number, 0.5)
    assert study.counts() == Counts(complete=1, running=1)
    old = trials(store, "tiny", states=("requeued",))
    assert [(t.number, t.attrs["requeued_as"], t.attrs["reason"]) for t in old] == [
        (0, 2, "its worker died"),
        (1, 3, "its worker died"),
        (2, 4, "again"),
    ]
    with pytest.raises(StudyError, match="has ended"):
        study.requeue(0, "once more")


def test_a_crash_between_the_steps_of_a_requeue_queues_no_second_copy(
    sweep: MakeSweep, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study.open(sweep(), store, faces(store))
    study.ask()

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Study, "_end", crash)
        with pytest.raises(KeyboardInterrupt):
            study.requeue(0, "x")
    again, other = reopen(sweep(), store)
    assert again.reconcile() == [0]
    assert [t.attrs.get(RETRY_OF) for t in trials(other, "tiny")] == [None, 0]
    assert again.counts() == Counts(waiting=1)
    other.close()


def test_what_a_killed_orchestrator_left_running_is_queued_again(
    sweep: MakeSweep, store: Store, tmp_path: Path
) -> None:
    sweep()
    done = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path), store.url], timeout=60, check=False)
    assert done.returncode == 9
    study = Study.open(sweep(), store, faces(store))
    assert study.counts() == Counts(complete=1, running=2)
    assert study.reconcile() == [0, 2]
    assert study.reconcile() == []
    assert study.counts() == Counts(complete=1, waiting=2)
    assert [a.status for a in store.jobs.attempts("tiny")] == ["lost"] * 3
    assert [study.ask().name for _ in range(2)] == ["by hand 1", None]


def test_a_disturbed_study_draws_what_an_undisturbed_one_draws(sweep: MakeSweep, store: Store, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/calm.db", root=tmp_path) as calm:
        quiet = Study.open(sweep(), calm, faces(calm))
        expected = []
        for _ in range(8):
            proposal = quiet.ask()
            quiet.complete(proposal.number, len(expected) / 10)
            expected.append((proposal.params, proposal.seed))
        best = ranking(calm, "tiny")[0].params
    study, opened, got = Study.open(sweep(), store, faces(store)), store, []
    for turn in range(12):
        proposal = study.ask()
        if turn in (0, 3, 4):
            study.requeue(proposal.number, "killed")
        elif turn == 6:  # the orchestrator dies
            study, opened = reopen(sweep(), opened)
            study.reconcile()
        else:
            got.append((proposal.params, proposal.seed))
            study.complete(proposal.number, expected.index(got[-1]) / 10)
    assert sorted(got, key=str) == sorted(expected, key=str)
    assert study.counts().finished == 8
    assert ranking(opened, "tiny")[0].params == best
    opened.close()


def test_a_trial_that_died_while_it_was_drawn_is_drawn_to_the_end(sweep: MakeSweep, store: Store) -> None:
    study = Study.open(sweep(), store, faces(store))
    study.ask()
    whole = study.ask()
    with store.engine.begin() as tx:  # as if the process had died after it asked for the first parameters
        tx.execute(text("DELETE FROM trial_params WHERE trial_id = 2 AND param_name IN ('augment', 'batch_size')"))
        tx.execute(text("DELETE FROM trial_user_attributes WHERE trial_id = 2"))
    again, other = reopen(sweep(), store)
    again.reconcile()
    assert [again.ask().params for _ in range(2)][1] == whole.params
    other.close()


def test_an_interrupted_trial_no_longer_competes_for_its_rung(sweep: MakeSweep, store: Store) -> None:
    halving = sweep("pruner={name: successive_halving, min_resource: 1, reduction_factor: 2}")
    study = Study.open(halving, store, faces(store))
    study.ask()
    assert not study.report(0, 1, 0.9)
    study.ask()
    study.requeue(0, "killed")
    assert not study.report(1, 1, 0.5)  # 0.9 would have pruned it
