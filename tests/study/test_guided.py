"""Tests of searches with priors and with rungs, as the trials that they draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fer_tune.errors import StudyError
from fer_tune.settings import Settings
from fer_tune.sources.run import run_sweeps
from fer_tune.store import Store
from fer_tune.study import TrialSummary, proposals, trials
from fer_tune.study.arms import ALONE, BESIDE_OTHERS, Evidence, from_model
from fer_tune.study.configurations import Cube, Floats
from fer_tune.sweep.schema import SamplerSpec, SearchSpec, Start, Sweep
from fer_tune.sweep.search_spec import PriorSpec, ScheduleSpec
from fer_tune.sweep.space import Parameter, Range
from tests.jobs.helpers import INLINE, Notebook, run
from tests.pool.trainers import obedient
from tests.searches import make_sweep

EFFECTS = SamplerSpec("effects", None, {"n_startup_trials": 4})
FROM_START = PriorSpec.model_validate({"from": "start", "confidence": "high"})


@pytest.fixture
def settings(searching: Settings) -> Settings:
    return searching


def searched(settings: Settings, sweep: Sweep) -> list[TrialSummary]:
    run(sweep, settings)
    with Store.of(settings) as store:
        return trials(store, sweep.study)


def with_prior(prior: PriorSpec, study: str = "s", **start: float) -> Sweep:
    sweep = make_sweep(study, epochs=2, budget=14, seconds=0.0, start=[start] if start else ())
    return replace(sweep, sampler=EFFECTS, search=SearchSpec(strategy="promote", factor=3, rungs=[1], prior=prior))


def test_the_model_learns_from_trials_that_are_paused(settings: Settings) -> None:
    sweep = make_sweep(epochs=9, budget=24, seconds=0.0, search=SearchSpec(strategy="promote", factor=3, rungs=[1, 3]))
    found = searched(settings, replace(sweep, sampler=EFFECTS))
    model = [one.params["value"] for one in found if one.attrs["drawn"] == "model"]
    chance = [one.params["value"] for one in found if one.attrs["drawn"] == "random"]
    assert len(model) > 8
    assert sum(model) / len(model) > sum(chance) / len(chance) + 0.2  # type: ignore[arg-type]


def test_samplers_of_optuna_are_models_too(settings: Settings) -> None:
    sweep = make_sweep(epochs=4, budget=10, seconds=0.0, search=SearchSpec(strategy="promote", factor=3, rungs=[1, 2]))
    found = searched(settings, replace(sweep, sampler=SamplerSpec("tpe", None, {"n_startup_trials": 3})))
    assert "model" in {one.attrs["drawn"] for one in found}
    assert sum(one.state == "complete" for one in found) >= 1


def test_random_search_with_rungs_stays_random(settings: Settings) -> None:
    sweep = make_sweep(epochs=4, budget=4, seconds=0.0)
    plain = [one.params for one in searched(settings, sweep)]
    rungs = replace(sweep, study="r", search=SearchSpec(strategy="promote", factor=3, rungs=[1]))
    assert [one.params for one in searched(settings, rungs)] == plain


def test_a_prior_from_start_is_trained_first_and_to_its_end(settings: Settings) -> None:
    found = searched(settings, with_prior(FROM_START, value=0.7))
    assert (found[0].state, found[0].epochs, found[0].params["value"]) == ("complete", 2, 0.7)
    near = [one.params["value"] for one in found if one.attrs.get("drawn") == "prior"]
    assert len(near) >= 3
    assert all(abs(float(value) - 0.7) < 0.4 for value in near)


def test_a_prior_from_another_study_begins_with_its_best_trial(settings: Settings) -> None:
    before = searched(settings, make_sweep("other", epochs=2, budget=3, seconds=0.0))
    best = max(before, key=lambda one: one.value or 0)
    found = searched(settings, with_prior(PriorSpec(study="other")))
    assert found[0].name == "best of other"
    assert found[0].params["value"] == best.params["value"]
    again = searched(settings, replace(with_prior(PriorSpec(study="other")), seed=1))
    assert [one.name for one in again].count("best of other") == 1


def test_a_prior_from_a_study_that_is_not_there_is_refused_before_a_study_is_made(settings: Settings) -> None:
    make = replace(with_prior(PriorSpec(study="absent")), prior_origin="line 12")
    with pytest.raises(StudyError, match=r"^s\.yaml: line 12: search\.prior\.study: there is no study absent"):
        run(make, settings)
    with Store.of(settings) as store:
        assert store.studies.all() == []


def test_the_error_about_a_missing_prior_names_the_nearest_study(settings: Settings) -> None:
    searched(settings, make_sweep("other", epochs=2, budget=3, seconds=0.0))
    with pytest.raises(StudyError) as refused:
        run(with_prior(PriorSpec(study="ohter")), settings)
    assert refused.value.hint == "Did you mean other? `fer-tune studies` lists the studies."


def test_a_prior_from_a_study_that_shares_no_value_is_refused_before_a_study_is_made(settings: Settings) -> None:
    searched(settings, make_sweep("other", epochs=2, budget=3, seconds=0.0))
    sweep = with_prior(PriorSpec(study="other"))
    high = {"value": Parameter("value", "value", Range(0.95, 0.99))}
    with pytest.raises(StudyError, match=r"search\.prior\.study: no hyperparameter of other's best trials") as refused:
        run(replace(sweep, space=sweep.space | high), settings)
    assert refused.value.hint.startswith("This sweep searches value.")
    with Store.of(settings) as store:
        assert store.studies.find("s") is None


def noted(settings: Settings, sweep: Sweep) -> list[str]:
    watch = Notebook()
    run_sweeps([sweep], settings, INLINE, watch, obedient)
    return [note for note in watch.notes if "search.prior" in note]


def test_a_note_says_what_a_prior_does_not_take_over(settings: Settings) -> None:
    other = make_sweep("other", epochs=2, budget=3, seconds=0.002)
    searched(settings, replace(other, family="deep_cnn"))
    assert noted(settings, with_prior(PriorSpec(study="other"))) == [
        "s: search.prior: other is a study of deep_cnn. "
        "The search does not take over these hyperparameters of other's best trial: seconds."
    ]


def test_a_prior_of_the_same_space_is_not_noted(settings: Settings) -> None:
    searched(settings, make_sweep("other", epochs=2, budget=3, seconds=0.0))
    assert noted(settings, with_prior(PriorSpec(study="other"))) == []


def test_a_prior_follows_those_of_its_configurations_that_turned_out_well(settings: Settings) -> None:
    sweep = with_prior(FROM_START)
    starts = tuple(Start(None, {"value": value}) for value in (0.1, 0.8, 0.15))
    found = searched(settings, replace(sweep, start=starts))
    near = [float(one.params["value"]) for one in found if one.attrs.get("drawn") == "prior"]
    assert len(near) >= 3
    assert min(near) > 0.4


def test_without_start_configurations_a_prior_from_them_does_not_keep_trials_from_pausing(settings: Settings) -> None:
    found = searched(settings, with_prior(FROM_START))
    assert sum(one.epochs == 1 for one in found) > len(found) / 2


@pytest.mark.parametrize(
    ("lanes", "schedule", "expected"),
    [
        (1, ScheduleSpec(), {ALONE}),
        (3, ScheduleSpec(), {BESIDE_OTHERS}),
        (1, ScheduleSpec(name="deterministic", slots=3), {BESIDE_OTHERS}),  # whatever is being trained
        (2, ScheduleSpec(name="deterministic", slots=1), {ALONE}),
    ],
)
def test_draws_of_several_slots_differ_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, lanes: int, schedule: ScheduleSpec, expected: set[float]
) -> None:
    spreads: list[float] = []

    def noted(cube: Cube, evidence: Evidence, random: np.random.Generator, spread: float) -> Floats:
        spreads.append(spread)
        return from_model(cube, evidence, random, spread)

    monkeypatch.setattr(proposals, "from_model", noted)
    sweep = make_sweep(epochs=4, budget=14, seconds=0.0, search=SearchSpec(strategy="promote", factor=3, rungs=[1, 2]))
    run(replace(sweep, sampler=EFFECTS, schedule=schedule), settings, replace(INLINE, lanes=lanes))
    assert set(spreads) == expected
