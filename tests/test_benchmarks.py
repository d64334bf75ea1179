"""What the benchmarks of speed compare: kernels with their formulas, and two checkouts."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from benchmarks.before_after import Cell, compared, keep_best
from benchmarks.kernels import KERNELS, NETWORKS
from benchmarks.scaling import Stretch, covered
from fer_tune.models.layers import HAS_TRITON


@pytest.mark.skipif(not HAS_TRITON, reason="needs Triton")
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_takes_as_many_arguments_as_its_formula(name: str) -> None:
    """So that either can take the other's place."""
    module, function, formula = KERNELS[name]
    kernel = getattr(import_module(f"fer_tune.kernels.{module}"), function)
    assert len(inspect.signature(kernel).parameters) == len(inspect.signature(formula).parameters)


def test_every_kernel_is_measured_in_a_network() -> None:
    assert {kernel for network in NETWORKS for kernel in network.kernels} == set(KERNELS)


def test_two_checkouts_are_compared_by_the_best_of_each() -> None:
    rates: dict[str, dict[Cell, dict[str, int]]] = {"before": {}, "after": {}}
    for way, trial in (("before", 90), ("before", 100), ("after", 98), ("after", 95)):
        keep_best(rates[way], [{"family": "vgg", "batch": 64, "trial": trial, "bare": 200}])
    keep_best(rates["after"], [{"family": "new", "batch": 64, "trial": 1, "bare": 1}])
    [row] = compared(rates)
    assert row["trial"] == {"before": 100, "after": 98, "ratio": 0.98}
    assert row["bare"]["ratio"] == 1.0


def test_a_device_is_idle_while_no_lane_of_it_has_a_job() -> None:
    assert covered([(3, 4), (0, 2), (1, 2.5)]) == 3.5
    seen = Stretch(spans={"cuda:0": [(0, 4), (1, 5)], "cuda:1": [(0, 3), (5, 10)]})
    assert seen.lasted == 10
    assert seen.idle() == {"cuda:0": 0.5, "cuda:1": 0.2}
