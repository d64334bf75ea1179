"""Tests of the table of plans beside what then happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import plan_tables


def sweep(source: str, error: float) -> dict[str, object]:
    """Returns a compared plan as `benchmarks.plan` writes it."""
    text = f"plan-0: 1 worker\n  an epoch takes 0.1 s (from 0.1 to 0.2) of GPU time, by {source}\n"
    return {"sweep": "deep_cnn:60", "error": error, "plan": text}


@pytest.mark.parametrize(
    ("source", "probed"),
    [
        ("a probe of 12 configurations", True),
        ("1 earlier trial", False),
        ("60 earlier trials", False),
        ("3 earlier trials and a probe of 12 configurations", False),
    ],
)
def test_a_plan_without_earlier_trials_is_one_of_a_probe(source: str, probed: bool) -> None:
    assert plan_tables.is_probed(sweep(source, 0.0)) == probed


def test_the_table_has_a_row_for_each_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_tables, "RESULTS", tmp_path)
    found = [sweep("a probe of 12 configurations", 0.334), sweep("60 earlier trials", -0.051)]
    (tmp_path / "plan-a-h100.json").write_text(json.dumps({"sweeps": found}))
    (tmp_path / "plan-b-h100.json").write_text(json.dumps({"sweeps": found[:1]}))
    (tmp_path / "plan.json").write_text("of a CPU")
    rows = plan_tables.plans().splitlines()[2:]
    assert [row.split(" | ")[1:] for row in rows] == [
        ["deep_cnn:60 +33 %", "- |"],
        ["deep_cnn:60 +33 %", "deep_cnn:60 -5 % |"],
    ]


def test_simulated_plans_stand_beside_what_the_best_plan_could_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_tables, "RESULTS", tmp_path)
    databases = [[{"took": 100.0}, {"took": 110.0}], [{"took": 50.0}, {"took": 140.0}]]
    right = {"plans": 2, "within": 1, "in_range": 2, "mean_error": 0.0123}
    found = {"recorded": right, "probed": right | {"mean_error": -0.2}, "cheapest": 50.0, "dearest": 140.0}
    record = {"sweeps": {"deep_cnn:60": found | {"databases": databases}}}
    (tmp_path / "plan-simulated.json").write_text(json.dumps(record))
    assert plan_tables.simulated_plans().splitlines()[2:] == [
        "| deep_cnn:60 | a probe | 1 of 2 (50 %) | 2 | -20.0 % | 50 to 140 s | 2 of 4 (50 %) |",
        "|  | earlier trials | 1 of 2 (50 %) | 2 | +1.2 % |  |  |",
    ]
