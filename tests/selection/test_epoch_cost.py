"""Tests of the model of what an epoch costs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fer_tune.job import Value
from fer_tune.selection.epoch_cost import MOST, fit

SEED = 3


def configurations(count: int) -> list[dict[str, Value]]:
    """Returns random configurations. Only the first three hyperparameters cost anything."""
    random = np.random.default_rng(SEED)
    return [
        {
            "width": int(random.choice([8, 16, 32, 64])),
            "batch_size": int(random.choice([32, 64, 128])),
            "mixup": float(random.choice([0.0, 0.2])),
            "optimizer": str(random.choice(["sgd", "adam", "muon"])),
            "lr": float(random.uniform(0.01, 0.1)),
            "dropout": float(random.choice([0.0, random.uniform(0.1, 0.5)])),
        }
        for _ in range(count)
    ]


def truth(params: dict[str, Value]) -> float:
    return 0.05 * float(params["width"]) ** 0.8 * float(params["batch_size"]) ** -0.3 * (1.5 if params["mixup"] else 1)


def test_it_finds_the_hyperparameters_that_cost_time_among_those_that_do_not() -> None:
    known, others = configurations(16), configurations(60)[16:]
    random = np.random.default_rng(SEED)
    model = fit(known, [truth(one) * math.exp(random.normal(0, 0.03)) for one in known])
    assert set(model.names) == {"width", "batch_size", "mixup"}
    for one in others:
        assert model.seconds(one) == pytest.approx(truth(one), rel=0.15)


def test_a_text_costs_what_each_of_its_values_does() -> None:
    known = configurations(30)
    model = fit(known, [{"sgd": 1.0, "adam": 1.5, "muon": 4.0}[str(one["optimizer"])] for one in known])
    assert model.names == ["optimizer"]
    assert model.seconds({"optimizer": "muon"}) == pytest.approx(4.0, rel=0.02)
    assert model.seconds({"optimizer": "adam"}) == pytest.approx(1.5, rel=0.02)


def test_seconds_that_differ_by_chance_rarely_have_a_cause() -> None:
    known = configurations(12)
    models = [fit(known, np.exp(np.random.default_rng(seed).normal(0, 0.1, 12)).tolist()) for seed in range(40)]
    assert sum(not model.names for model in models) >= 24
    assert [model.seconds(known[0]) for model in models] == pytest.approx([1.0] * 40, rel=0.3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_configurations_are_no_error(count: int) -> None:
    model = fit(configurations(count), [2.0] * count)
    assert len(model.names) <= MOST
    assert model.seconds(configurations(count)[0]) == pytest.approx(2.0)


def test_a_drawn_model_differs_as_much_as_the_measurements_leave_open() -> None:
    known = configurations(16)
    random = np.random.default_rng(SEED)
    exact = fit(known, [truth(one) for one in known])
    rough = fit(known, [truth(one) * math.exp(random.normal(0, 0.3)) for one in known])

    def spread(model: object) -> float:
        return float(np.std([math.log(model.drawn(random).seconds(known[0])) for _ in range(50)]))  # type: ignore[attr-defined]

    assert spread(exact) < 0.001
    assert 0.02 < spread(rough) < 0.5
