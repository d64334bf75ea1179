"""Tests that an orchestrator may be killed between any two transactions.

The kill is simulated by an exception that nothing catches. `make chaos` kills real processes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from fer_tune.settings import Settings, sqlite_url
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store
from fer_tune.store.pending import Transaction
from fer_tune.study import trials
from fer_tune.sweep.schema import PrunerSpec, Sweep
from tests.jobs.helpers import INLINE
from tests.pool.trainers import obedient
from tests.searches import make_sweep

TWO = replace(INLINE, workers=2)
BUDGET = 5


class Killed(BaseException):
    """The process ends here."""


def sweep() -> Sweep:
    pruner = PrunerSpec("median", {"n_startup_trials": 2, "n_warmup_steps": 0})
    start: list[dict[str, object]] = [{"value": 0.5}, {"value": 0.6}, {"value": 0.1}]
    return make_sweep(start=start, budget=BUDGET, epochs=3, pruner=pruner)  # type: ignore[arg-type]


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, bool], list[int]]:
    """Returns a function that lets a transaction of the next runs be the last thing they do."""
    commit = Transaction.__call__

    def arm(last: int, before: bool) -> list[int]:
        """
        Args:
            last: number of the transaction, from 1.
            before: whether the run is killed before the transaction is committed, and not after.
        """
        made: list[int] = []

        def call(transaction: Transaction) -> None:
            made.append(1)
            if len(made) == last and before:
                raise Killed
            commit(transaction)
            if len(made) == last:
                raise Killed

        monkeypatch.setattr(Transaction, "__call__", call)
        return made

    return arm


def run(settings: Settings) -> None:
    run_sweeps([sweep()], settings, TWO, None, obedient)


@pytest.mark.slow  # on SQLite, tests/test_kills.py kills real processes before the same transactions
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_run_that_is_killed_between_two_transactions_continues(
    settings: Settings, kill: Callable[[int, bool], list[int]], kind: str, request: pytest.FixtureRequest
) -> None:
    def new(name: str) -> Settings:
        root = settings.root / name
        url = sqlite_url(root / "fer_tune.db") if kind == "sqlite" else request.getfixturevalue("postgres")()
        return replace(settings, root=root, url=url)

    draws = random.Random(7)
    everything = kill(10**9, False)
    run(new("whole"))
    assert len(everything) > 20
    for place in draws.sample(range(1, len(everything)), 5):
        of = new(str(place))
        for last in (place, draws.randrange(3, 12)):  # it is killed once more while it continues
            kill(last, draws.random() < 0.5)
            with pytest.raises(Killed):
                run(of)
        kill(10**9, False)
        run(of)
        check(of)


def check(settings: Settings) -> None:
    """Checks that nothing is lost, repeated, or left half done."""
    with Store.of(settings) as store:
        found = trials(store, "s")
        counted = [trial for trial in found if trial.state != "requeued"]
        assert Counter(trial.state for trial in counted).keys() <= {"complete", "pruned"}
        assert len(counted) == BUDGET
        assert [trial.number for trial in found] == list(range(len(found)))
        assert len({trial.params["value"] for trial in counted}) == BUDGET
        jobs = {job.uid: job for job in store.jobs.of("s")}
        assert len(jobs) == BUDGET
        for trial in counted:
            assert trial.job is not None
            job, curve = jobs[trial.job], store.epochs.curve("s", trial.job)
            assert (job.state, job.value, job.number) == (trial.state, trial.value, trial.number)
            assert [row.epoch for row in curve] == list(range(1, trial.epochs + 1))
            assert trial.epochs == 3 or trial.state == "pruned"
        assert all(attempt.ended for attempt in store.jobs.attempts("s"))
        if store.engine.dialect.name == "sqlite":
            with store.engine.connect() as connection:
                assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
