"""Values, ranks and times to the target, from runs."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.search.compare import compare, table, time_to, value_at

FACTORS = (0.5, 1.0)


def run(*steps: tuple[float, float]) -> dict[str, Any]:
    return {"times": [time for time, _ in steps], "true": [value for _, value in steps]}


RUNS = {
    "tpe+median/1/0": run((10, 0.50), (90, 0.60)),
    "tpe+median/1/1": run((10, 0.52), (90, 0.62)),
    "quick/1/0": run((5, 0.60), (20, 0.64)),
    "quick/1/1": run((5, 0.60), (20, 0.66)),
    "slow/1/0": run((10, 0.40)),
    "slow/1/1": run((60, 0.40)),
}


def test_rivals_are_compared_at_each_budget() -> None:
    part = compare(RUNS, 100.0, FACTORS)["1"]
    assert part["target"] == pytest.approx(0.61)
    assert list(part["rivals"]) == ["quick", "tpe+median", "slow"]
    quick = part["rivals"]["quick"]
    assert quick["median"] == [0.65, 0.65]
    assert quick["quartiles"] == [[0.645, 0.645], [0.655, 0.655]]
    assert quick["mean_rank"] == 1.0
    assert quick["time_to_target"] == 0.2
    assert part["rivals"]["tpe+median"]["points_behind_best"] == pytest.approx([14.0, 4.0])
    assert part["rivals"]["slow"]["time_to_target"] is None


def test_a_search_is_compared_at_the_budgets_that_it_has_played() -> None:
    runs = {key: run | {"seconds": 50.0 if key.startswith("slow") else 100.0} for key, run in RUNS.items()}
    part = compare(runs, 100.0, FACTORS)["1"]
    assert part["factors"] == [0.5, 1.0]
    assert part["target"] == pytest.approx(0.61)
    assert len(part["rivals"]["quick"]["median"]) == 2
    assert part["rivals"]["slow"]["median"] == [0.2]
    assert part["rivals"]["slow"]["rank"] == [3.0]
    assert part["rivals"]["tpe+median"]["rank"] == [2.0, 2.0]
    assert "slow" in table({"1": part})


def test_seeds_that_played_longer_count_alone_at_the_larger_budgets() -> None:
    runs = {key: run | {"seconds": 50.0 if key.endswith("/1") else 100.0} for key, run in RUNS.items()}
    part = compare(runs, 100.0, FACTORS)["1"]
    assert part["rivals"]["quick"]["seeds_at"] == [2, 1]
    assert part["rivals"]["quick"]["median"] == [0.65, 0.64]
    assert part["rivals"]["quick"]["rank"] == [1.0, 1.0]
    assert part["target"] == 0.60


def test_ranks_are_of_common_seeds_only() -> None:
    part = compare(RUNS | {"quick/1/7": run((1, 0.1))}, 100.0, FACTORS)["1"]
    assert part["common_seeds"] == 2
    assert part["rivals"]["quick"]["seeds"] == 3
    assert part["rivals"]["quick"]["mean_rank"] == 1.0


def test_before_its_first_epoch_a_search_has_nothing() -> None:
    assert value_at(run((60, 0.4)), 50) == 0.0
    assert time_to([run((60, 0.4)), run((80, 0.4))], 0.3, 100.0, 4.0) == 0.8
    assert time_to([run((60, 0.4))], 0.3, 100.0, 0.5) is None


def test_numbers_of_slots_are_kept_apart() -> None:
    compared = compare(RUNS | {"quick/8/0": run((1, 0.7))}, 100.0, FACTORS)
    assert list(compared) == ["1", "8"]
    assert compared["8"]["target"] is None
    text = table(compared)
    assert "quick" in text.splitlines()[2]
    assert "never" in text
