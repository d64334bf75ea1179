"""Tests of replays: recorded curves under other rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fer_tune.errors import SweepError
from fer_tune.settings import Settings
from fer_tune.store import Store
from fer_tune.study import ranking
from fer_tune.study.replay import Recorded, Rule, as_recorded, replay, replays, rules_of
from fer_tune.study.replay import recorded as recorded_of
from fer_tune.sweep.schema import PrunerSpec, SearchSpec
from tests.jobs.helpers import run
from tests.searches import make_sweep

PROMOTE = Rule("promote", SearchSpec(strategy="promote", factor=3, rungs=[1, 3]))


def recorded(*finals: float, epochs: int = 9, cut: int = 9) -> list[Recorded]:
    return [
        Recorded(
            number,
            tuple(final - 0.01 * (epochs - e) for e in range(1, cut + 1)),
            (1.0,) * cut,
            (1.0 + final,) * cut,  # the better a trial ends, the higher its loss
            cut == epochs,
        )
        for number, final in enumerate(finals)
    ]


def test_without_pruning_a_replay_is_the_study() -> None:
    trials = recorded(0.5, 0.7, 0.6)
    found, first = replay(trials, Rule("none"), 9, 100.0), as_recorded(trials)
    assert (found.seconds, found.complete, found.value, found.number) == (27.0, 3, 0.7, 1)
    assert (first.seconds, first.complete, first.value, first.number) == (27.0, 3, 0.7, 1)


def test_rungs_find_the_same_trial_for_less() -> None:
    found = replay(recorded(0.5, 0.7, 0.6, 0.4, 0.3, 0.2), PROMOTE, 9, 100.0)
    assert (found.number, found.unknown) == (1, 0)
    assert found.seconds < 27


def test_rungs_that_compare_losses_continue_other_trials() -> None:
    search = PROMOTE.search.model_copy(update={"compare": "val_loss"})
    trials = recorded(0.5, 0.2, 0.6, 0.4, 0.3, 0.7)
    assert replay(trials, Rule("losses", search), 9, 100.0).number == 1
    assert replay(trials, PROMOTE, 9, 100.0).number == 5


def test_a_pruner_of_optuna_prunes_in_a_replay() -> None:
    rule = Rule("median", pruner=PrunerSpec("median", {"n_startup_trials": 1, "n_warmup_steps": 0}))
    found = replay(recorded(0.7, 0.5, 0.6, 0.8), rule, 9, 100.0)
    assert (found.complete, found.number) == (2, 3)
    assert found.seconds < 27


def test_a_budget_ends_a_replay_and_is_never_exceeded() -> None:
    found = replay(recorded(0.5, 0.7, 0.6), Rule("none"), 9, 10.0)
    assert (found.complete, found.started, found.exhausted) == (1, 2, False)
    assert found.seconds <= 10


def test_epochs_that_were_never_trained_are_unknown() -> None:
    found = replay([*recorded(0.5, 0.6), *recorded(0.9, cut=2)], Rule("none"), 9, 100.0)
    assert (found.complete, found.unknown, found.value) == (2, 1, 0.6)


def test_it_reads_a_study(searching: Settings) -> None:
    run(make_sweep(epochs=4, budget=6, seconds=0.0), searching)
    with Store.of(searching) as store:
        first, whole, half = replays(store, "s", [PROMOTE], [1.0, 0.5])
        text = store.studies.get("s").sweep_text
    assert first.complete == 6
    assert whole.value == first.value
    assert half.budget == pytest.approx(first.seconds / 2)
    assert half.seconds <= half.budget
    assert text == ""


def test_a_trial_has_the_objective_that_the_study_takes(searching: Settings) -> None:
    falling = Recorded(0, (0.7, 0.3, 0.5), (1.0,) * 3, (1.0,) * 3, True)
    assert falling.objective == 0.7
    assert replace(falling, objective_of="last").objective == 0.5
    assert replace(falling, objective_of="mean_last").objective == pytest.approx(0.5)
    run(replace(make_sweep(epochs=4, budget=3, seconds=0.0), objective_of="mean_last"), searching)
    with Store.of(searching) as store:
        first, *_ = replays(store, "s", [], [1.0])
        assert first.value == ranking(store, "s")[0].value
        assert first.value != max(max(one.values) for one in recorded_of(store, "s"))


def test_rules_are_read_as_a_sweep_is() -> None:
    rules = rules_of("family: vgg\n", ["{strategy: promote, factor: 4}"], ["{name: median, n_warmup_steps: 3}"])
    assert rules[0].search.factor == 4
    assert rules[1].pruner.options["n_warmup_steps"] == 3
    with pytest.raises(SweepError, match=r"--search promot is not valid: search\.strategy: .*nearest: promote"):
        rules_of("family: vgg\n", ["promot"], [])
    with pytest.raises(SweepError, match="--pruner foo is not valid: pruner: foo: unknown name; allowed: median"):
        rules_of("family: vgg\n", [], ["foo"])


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ("{strategy: promote, facto: 3}", "search.facto: unknown key; nearest: factor; allowed: strategy, "),
        ("{strategy: promote, rungs: [2, 4, 8, 16], factor: 3, compare: loss}", "search.compare: must be 'objective'"),
        ("{rungs: [2]}", "search.rungs: needs strategy: promote, which has rungs."),
        ("{rungs: [2", "not YAML: "),
    ],
)
def test_an_error_repeats_a_rule_once_and_says_what_is_wrong_with_it(search: str, said: str) -> None:
    with pytest.raises(SweepError) as refused:
        rules_of("family: vgg\n", [search], [])
    assert refused.value.message.startswith(f"--search {search} is not valid: {said}")


def test_what_is_wrong_with_the_sweep_of_a_study_keeps_its_line() -> None:
    with pytest.raises(SweepError, match=r"--search prune is not valid: line 2: sead: unknown key; nearest: seed"):
        rules_of("family: vgg\nsead: 1\n", ["prune"], [])
