"""The record of the search: its cases, the processes that play them, and its targets."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from benchmarks.search import tables
from benchmarks.search.cases import NOTHING, OURS, RECIPE, WRONG, Arm, Case, cases, our_sweeps, worst
from benchmarks.search.compare import compare
from benchmarks.search.measure import Results
from benchmarks.search.targets import targets, targets_table
from benchmarks.search.workers import Workers, python_of
from tests.benchmarks.simulated import SMALL, simulator, small


def test_a_comparison_that_is_cut_off_has_as_many_seeds_of_each_arm() -> None:
    arms = [Arm(OURS), Arm("random", longest=2.0), Arm(OURS, RECIPE, 1.0)]
    found = cases(arms, {"one": 10.0, "two": 20.0}, [1, 8], seeds=3)
    assert len(found) == 3 * 2 * 3 * 2
    assert [case.seed for case in found] == sorted(case.seed for case in found)
    assert [case.slots for case in found[:12]] == [8] * 6 + [1] * 6
    assert {(case.part, case.rival, case.seconds) for case in found} == {
        ("one", OURS, 40.0), ("two", OURS, 80.0), ("one", "random", 20.0), ("two", "random", 40.0),
        ("one from the recipe", OURS, 10.0), ("two from the recipe", OURS, 20.0),
    }  # fmt: skip


def test_searches_begin_with_nothing_with_the_recipe_or_with_a_wrong_prior(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    assert our_sweeps(path, [], NOTHING)[OURS].start == ()
    assert [start.name for start in our_sweeps(path, [], RECIPE)[OURS].start] == ["first"]
    [wrong] = our_sweeps(path, [], WRONG, simulator())[OURS].start
    assert wrong.params == worst(small(), simulator())
    assert simulator().true_value(wrong.params) < simulator().true_value(small().start[0].params)
    assert our_sweeps(path, [], epochs=5)[OURS].budget.epochs == 5


def test_each_search_is_played_by_the_python_that_has_its_library() -> None:
    pythons = {"rivals": "a", "dehb": "b"}
    assert python_of("fer-tune mine", pythons) == python_of("tpe+median", {}) == "own"
    assert python_of("neps hyperband", pythons) == "rivals"
    assert python_of("dehb", pythons) == "dehb"
    assert python_of("dehb", {"rivals": "a"}) == "rivals"
    assert python_of("dehb", {}) is None


@pytest.mark.slow
def test_cases_are_played_in_other_processes_and_one_that_fails_ends_no_other(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "kept").write_bytes(pickle.dumps(simulator()))
    families = {"small": {"sweep": str(tmp_path / "small.yaml"), "simulator": str(tmp_path / "kept"), "variants": []}}
    wanted = [Case(name, 1, 0, 2.0, False, "small") for name in ("random", "nobody", OURS)]
    found = {case.rival: run for case, run in Workers(families, {}, 2).play(wanted)}
    assert "no rival nobody" in found["nobody"]["error"]
    assert found["random"]["jobs"] > 0
    assert found[OURS]["never_above_median"] >= 0.0
    assert list(Workers(families, {}, 2).play(wanted, seconds=0.0)) == []


def test_a_run_counts_as_played_only_if_it_was_long_enough(tmp_path: Path) -> None:
    results = Results(tmp_path / "search.json")
    results.family("small")["runs"]["random/1/0"] = {"seconds": 20.0}
    assert results.has(Case("random", 1, 0, 20.0, family="small"))
    assert not results.has(Case("random", 1, 0, 40.0, family="small"))
    assert not results.has(Case("random", 1, 0, 20.0, family="small", begin=RECIPE))


def test_the_targets_are_read_from_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    def part(values: dict[str, float], late: float = 0.0, **goals: Any) -> dict[str, Any]:
        runs = {
            f"{name}/1/{seed}": {"times": [10.0, 90.0], "true": [value, value + late], "seconds": 200.0}
            for name, value in values.items()
            for seed in range(2)
        }
        runs[f"{OURS}/1/0"] |= {"never_above_median": 0.2, "below_last": 0.4}
        return {"runs": runs, "compared": compare(runs, 100.0, **goals)}

    parts = {"deep_cnn": part({OURS: 0.62, "tpe+median": 0.60, "random": 0.5}, 0.01)}
    goals = {"1": parts["deep_cnn"]["compared"]["1"]["target"]}
    parts["deep_cnn from the recipe"] = part({OURS: 0.65}, goals=goals)
    parts["deep_cnn from a wrong prior"] = part({OURS: 0.60}, goals=goals)
    found = targets(parts)
    row = found["families"]["deep_cnn, 1 slot"]
    assert (row["time_to_target"], row["mean_rank"], row["first"], row["most_points_behind"]) == (0.1, 1.0, True, 0.0)
    assert (row["time_from_recipe"], row["wrong_behind"]) == (0.1, pytest.approx(3.0))
    assert (row["never_above_median"], row["below_last"]) == (0.2, 0.4)
    assert list(found["mean_ranks"]) == [OURS, "tpe+median", "random"]
    assert "deep_cnn, 1 slot" in targets_table(found)
    monkeypatch.setattr(tables, "record", lambda name: {"targets": found})
    assert "| deep_cnn, 1 slot | 2 | 0.10 | 1.00, first | 0.00 | 0.10 | 3.00 | 20 |" in tables.search_targets()
