"""Tests of the pace of earlier trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from fer_tune.job import EpochRow, Job, JobEnd
from fer_tune.settings import Settings
from fer_tune.sources.recorded_pace import ENOUGH, recorded_pace
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store
from fer_tune.sweep.load import loads_sweep
from fer_tune.sweep.schema import SearchSpec, Sweep
from tests.jobs.helpers import INLINE, run
from tests.pool.trainers import Obedient
from tests.searches import make_sweep


@pytest.fixture
def sweep() -> Sweep:
    return make_sweep(epochs=9, budget=12, seconds=0.0, search=SearchSpec(strategy="promote", factor=3, rungs=[1, 3]))


def test_earlier_trials_that_the_sweep_could_draw_have_curves(searching: Settings, sweep: Sweep) -> None:
    run(make_sweep("before", epochs=9, budget=2, seconds=0.0), searching)
    run(make_sweep("other", epochs=9, budget=2, seconds=0.001), searching)
    with Store.of(searching) as store:
        pace = recorded_pace(store, sweep, store.studies.get("before"), ["cpu"])
    assert pace is not None
    assert all(trial.params["value"] for trial in pace.trials)
    known = [trial for trial in pace.trials if trial.curve]
    assert (len(pace.trials), len(known), pace.lanes) == (4, 2, 1)
    assert all(set(trial.curve) == {1, 2, 3, 9} for trial in known)


class Together(Obedient):
    """Its epochs are said to last a second and to have an eighth of the device."""

    def train(self, spec: Job, stop_requested: Callable[[], int]) -> Iterator[EpochRow | JobEnd]:
        for message in super().train(spec, stop_requested):
            yield replace(message, seconds=1.0, device_seconds=0.125) if isinstance(message, EpochRow) else message


def test_what_trials_in_lanes_cost_is_their_share_of_the_time(searching: Settings) -> None:
    """All of them end within a moment. So they were trained side by side, 30 epochs in 30 s."""
    before = make_sweep("before", epochs=30, budget=ENOUGH, seconds=0.0)
    beside = replace(make_sweep("beside", epochs=30, budget=ENOUGH, seconds=0.0), family="deep_cnn")
    shares = []
    for sweep, lanes in ((before, ENOUGH), (beside, 2 * ENOUGH)):
        run_sweeps([sweep], searching, INLINE, trainer=Together)
        with Store.of(searching) as store:
            pace = recorded_pace(store, before, store.studies.get("before"), ["cpu"])
        assert pace is not None
        assert pace.lanes == pytest.approx(lanes, rel=0.1)
        shares.append(fmean(pace.epochs))
    assert shares == pytest.approx([1 / ENOUGH, 1 / (2 * ENOUGH)], rel=0.15)


def test_epochs_that_an_attempt_has_from_a_checkpoint_are_counted_once(searching: Settings) -> None:
    """One trial at a time: each of its three attempts has the rows of those before it."""
    rungs = SearchSpec(strategy="promote", factor=2, rungs=[2, 4])
    before = make_sweep("before", epochs=8, budget=4, seconds=0.02, search=rungs)
    run(before, searching)
    with Store.of(searching) as store:
        pace = recorded_pace(store, before, store.studies.get("before"), ["cpu"])
        rows = store.epochs.all("before")
    assert len(rows) > len({(row.job, row.epoch) for row in rows}), "some attempts have rows of others"
    assert pace is not None
    assert pace.epochs == pytest.approx([0.01] * 4), "what each row says"


def text(rules: str) -> str:
    """Returns the text of a sweep whose trials end by these rules."""
    return f"family: simple_cnn\nparams: {{lr: 0.1}}\n{rules}\n"


PROMOTE = "search: {strategy: promote, rungs: [3]}"


@pytest.mark.parametrize(
    ("before", "pruner", "known"),
    [
        (PROMOTE, "none", False),
        (f"{PROMOTE}\npruner: median", "median", False),
        ("pruner: median", "none", False),
        ("pruner: {name: median, n_warmup_steps: 3}", "median", False),
        ("pruner: median", "median", True),
        ("family: ./nowhere.py:Net", "median", False),
    ],
)
def test_trials_are_as_long_as_those_that_ended_by_the_same_rules(
    searching: Settings, before: str, pruner: str, known: bool
) -> None:
    options = loads_sweep(text("pruner: median"), Path("a.yaml")).pruner
    made = make_sweep("before", epochs=9, budget=4, seconds=0.0, pruner=options)
    run(replace(made, text=text(before)), searching)
    other = make_sweep(epochs=9, seconds=0.0, pruner=options if pruner == "median" else None)
    with Store.of(searching) as store:
        pace = recorded_pace(store, other, store.studies.get("before"), ["cpu"])
    assert pace is not None
    assert pace.lengths == ([1.0] * 4 if known else [])


@pytest.mark.parametrize(
    ("changed", "count"),
    [
        ("seed: 7\nbudget: {trials: 60, epochs: 9}", 2),
        ("budget: {trials: 60, epochs: 9}\nsearch: {strategy: promote, rungs: [3]}", 0),
        ("budget: {trials: 60, epochs: 9}\nsampler: random", 0),
        ("budget: {trials: 60, epochs: 12}", 0),
        ("objective: val_macro_f1\nbudget: {trials: 60, epochs: 9}", 0),
    ],
    ids=["another seed and length", "rungs", "sampler", "epochs", "objective"],
)
def test_trials_that_the_same_search_proposed_are_known(searching: Settings, changed: str, count: int) -> None:
    """Those of another seed or length are. A start configuration is nothing that it proposed."""
    made = make_sweep("before", epochs=9, budget=3, seconds=0.0, start=[{"value": 0.5}])
    run(replace(made, text=text("budget: {trials: 3, epochs: 9}")), searching)
    later = loads_sweep(text(changed), Path("later.yaml"))
    with Store.of(searching) as store:
        pace = recorded_pace(store, later, store.studies.get("before"), ["cpu"])
    assert pace is not None
    assert (len(pace.trials), sum(trial.searched for trial in pace.trials)) == (3, count)
