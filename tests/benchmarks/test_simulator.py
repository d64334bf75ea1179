"""The models of curves: what they predict, how they differ between seeds, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.search.__main__ import playable
from benchmarks.search.curves import Curve, Curves
from benchmarks.search.features import ABSENT, Features
from benchmarks.search.fitting import ACCURACY, GROWERS, Basis, qualities
from benchmarks.search.invented import final_accuracy, invent, random_configuration
from benchmarks.search.lanes import slowness
from benchmarks.search.noise import measured
from benchmarks.search.simulator import ABOVE, FEWEST, SECONDS, Simulator, bounded
from benchmarks.search.trees import boosted_trees, extra_trees
from fer_tune.errors import DataError
from tests.benchmarks.simulated import simulator, small


def test_held_out_configurations_are_ranked_as_their_curves_are() -> None:
    quality = simulator().record["quality"]
    assert quality["configurations"] == 60
    assert quality["rank_correlation"] > 0.7
    assert quality["median_error_points"] < 1.5
    assert simulator().record["believed"] is True


def test_unknown_configurations_get_nearly_the_value_that_they_have() -> None:
    draw = np.random.default_rng(99)
    chosen = [random_configuration(small().space, draw) for _ in range(60)]
    wrong = [abs(simulator().true_value(params) - simulator_truth(params)) for params in chosen]
    assert np.median(wrong) < 0.015


def simulator_truth(params: dict[str, object]) -> float:
    """Returns the best epoch of the invented curve without noise."""
    rows = np.mean([_curve(params, seed) for seed in range(6)], axis=0)
    return float(rows.max())


def _curve(params: dict[str, object], seed: int) -> np.ndarray:
    from benchmarks.search.invented import _rows

    return _rows(params, 8, np.random.default_rng(seed))[:, ACCURACY]  # type: ignore[arg-type]


def test_one_seed_gives_one_curve_and_seeds_differ_by_the_measured_noise() -> None:
    params = dict(small().start[0].params)
    one, again = simulator().train(params, 5), simulator().train(params, 5)
    assert np.array_equal(one.rows, again.rows)
    last = [float(simulator().train(params, seed).rows[-1, ACCURACY]) for seed in range(200)]
    noise = simulator().noise
    assert np.std(last) == pytest.approx(np.hypot(noise.offset[ACCURACY], noise.wiggle[ACCURACY]), rel=0.35)
    assert np.mean(last) == pytest.approx(simulator().true_value(params), abs=0.01)


def test_noise_is_measured_on_repeats_and_assumed_without() -> None:
    curves = invent(small(), 5, repeats=40)
    noise = measured(curves)
    assert noise.repeats == 40
    assert noise.offset[ACCURACY] == pytest.approx(0.0025, rel=0.4)
    assert noise.offset[SECONDS] == 0.0
    assert measured(Curves("simple_cnn", 8)).repeats == 0


def test_correlated_noise_is_measured_as_correlated() -> None:
    draw = np.random.default_rng(1)
    curves = Curves("simple_cnn", 60)
    for seed in range(30):
        walk = [0.0]
        for _ in range(59):
            walk.append(0.7 * walk[-1] + draw.normal(0, 0.004))
        rows = np.full((60, 5), 0.5)
        rows[:, ACCURACY] += walk
        curves.curves.append(Curve({}, seed, "complete", True, 0.0, 0, rows))
    assert measured(curves).memory == pytest.approx(0.7, abs=0.15)


def test_seconds_follow_the_size_of_the_batch() -> None:
    params = dict(small().start[0].params)
    seconds = {size: simulator().train(params | {"batch_size": size}, 1).rows[0, SECONDS] for size in (64, 256)}
    assert 2.0 < seconds[64] / seconds[256] < 6.0


def test_configurations_that_diverged_diverge_again() -> None:
    curves = invent(small(), 60)
    broken = [
        Curve(curve.params, curve.seed, "diverged", False, 0.0, 0, curve.rows[:2])
        if curve.params["optimizer"] == "sgd"
        else curve
        for curve in curves.curves
    ]
    found = Simulator(Curves("simple_cnn", 8, curves.chunks, broken), small().space, "gaussian process")
    base = {"augment": 0.3, "batch_size": 64, "schedule": "cosine"}
    broke = [found.train(base | {"optimizer": "sgd", "lr": 0.05}, seed).diverges for seed in range(20)]
    held = [found.train(base | {"optimizer": "muon", "lr": 0.002}, seed).diverges for seed in range(20)]
    assert sum(epoch == 3 for epoch in broke) > 15
    assert sum(epoch is None for epoch in held) > 15


def test_time_shared_with_other_trainings_is_not_counted() -> None:
    alone, shared = invent(small(), 24), invent(small(), 24)
    shared.chunks[0]["concurrency"] = 4.0
    params = dict(small().start[0].params)
    seconds = [
        Simulator(curves, small().space, "gaussian process").train(params, 1).rows[0, SECONDS]
        for curves in (alone, shared)
    ]
    assert seconds[0] == pytest.approx(slowness("simple_cnn", 4) * seconds[1], rel=0.01)


def test_nothing_is_predicted_far_above_the_best_that_was_measured() -> None:
    draw = np.random.default_rng(3)
    values = [simulator().true_value(random_configuration(small().space, draw)) for _ in range(200)]
    assert max(values) < simulator().ceiling + ABOVE
    assert bounded(0.60, 0.65) == 1.0
    assert 0.65 < bounded(0.66, 0.65) * 0.66 < bounded(0.70, 0.65) * 0.70 < 0.65 + ABOVE


def test_too_few_curves_are_refused() -> None:
    with pytest.raises(DataError, match="3 whole curves are too few"):
        Simulator(invent(small(), 3, repeats=0), small().space)


def test_an_inactive_parameter_is_told_from_every_value() -> None:
    features = Features(small().space)
    muon, sgd = features.rows([{"optimizer": "muon", "lr": 5e-4}, {"optimizer": "sgd", "lr": 0.3}])
    low, high = list(small().space).index("lr[optimizer=sgd]"), list(small().space).index("lr[optimizer=muon]")
    assert (muon[low + 1], muon[high + 1]) == (ABSENT, 0.0)
    assert (sgd[low + 1], sgd[high + 1]) == (pytest.approx(1.0), ABSENT)
    assert final_accuracy({"optimizer": "muon"}) > final_accuracy({"optimizer": "muon", "lr": 0.1})


@pytest.mark.parametrize("grow", [extra_trees, boosted_trees])
def test_joined_trees_answer_as_scikit_learn_does(grow: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn import ensemble

    grown = []
    for name in ("ExtraTreesRegressor", "GradientBoostingRegressor"):
        kind = getattr(ensemble, name)
        monkeypatch.setattr(
            ensemble, name, lambda *args, kind=kind, **given: grown.append(kind(*args, **given)) or grown[-1]
        )
    draw = np.random.default_rng(0)
    rows, targets = draw.random((40, 5)), draw.random((40, 2))
    trees = grow(rows, targets, 10)  # type: ignore[operator]
    asked = draw.random((7, 5))
    answers = [model.predict(asked) for model in grown]
    expected = answers[0] if len(answers) == 1 else np.stack(answers, axis=1)
    assert trees.predict(asked) == pytest.approx(expected)


def test_few_components_give_back_smooth_curves() -> None:
    curves = np.stack([curve.rows[:, :4] for curve in invent(small(), 50).curves])
    basis = Basis(curves)
    assert basis.curves(basis.scores)[:, -1, ACCURACY] == pytest.approx(curves[:, -1, ACCURACY], abs=0.01)


def test_the_mean_of_both_models_is_judged_without_a_third_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GROWERS, "boosted trees", lambda rows, targets: extra_trees(rows, targets, 20))
    curves = invent(small(), 40).whole()
    rows = Features(small().space).rows([curve.params for curve in curves])
    basis = Basis(np.stack([curve.rows[:, :4] for curve in curves]))
    free = [not curve.repeat for curve in curves]
    found = qualities(curves, rows, basis, ["gaussian process", "mean of both"], free, folds=2)
    assert list(found) == ["gaussian process", "mean of both"]
    assert found["mean of both"] != found["gaussian process"]
    assert all(part["rank_correlation"] > 0.3 for part in found.values())


def test_families_with_few_curves_are_not_played(tmp_path: Path) -> None:
    """Their files are still growing. The command says so if it is asked for one of them."""
    assert playable(tmp_path) == []
    invent(small(), FEWEST, repeats=0).save(tmp_path / "simple_cnn.npz")
    invent(small(), FEWEST - 1, repeats=0).save(tmp_path / "resnet.npz")
    assert playable(tmp_path) == ["simple_cnn"]
